//! The query as text: parsed, told apart from what can't run as a stream, and with names that stand for others replaced.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{
    Cte, Expr, Function, FunctionArg, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, SetExpr,
    SetOperator, SetQuantifier, Spanned, Statement, TableAlias, Visit, Visitor, With, visit_expressions,
    visit_expressions_mut, visit_relations,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::keywords::Keyword;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};

use super::error::{Result, SqlError};
use super::reference::{Reference, take_calls};
use super::{Scope, View};

/// How deep expressions and subqueries may nest: far beyond what people write, and far below what overflows a stack.
const NESTING_MAX: usize = 50;

const NO_QUERY: &str = "a query is expected: SELECT ... FROM ..., or WITH ... SELECT";

/// A query whose syntax can run.
pub(super) struct Parsed {
    /// The statement, without an `EXPLAIN`.
    pub(super) statement: Statement,
    /// Whether only the plan was asked for.
    pub(super) explain: bool,
    pub(super) marks: Marks,
}

/// Where parts of the outermost query stand, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) query: Span,
    pub(super) order_by: Option<Span>,
    pub(super) limit: Option<Span>,
    pub(super) group_by: Option<Span>,
}

/// Returns the one query in `sql`, with the views of `scope` that it reads as common tables.
pub(super) fn parse(sql: &str, scope: &Scope) -> Result<Parsed> {
    let (mut statement, explain) = statement(sql)?;
    take_calls(&mut statement)?;
    let marks = match &statement {
        Statement::Query(query) => Marks::of(query),
        other => return Err(SqlError::at(other.span(), NO_QUERY)),
    };
    add_views(&mut statement, &scope.views)?;
    if let ControlFlow::Break(error) = statement.visit(&mut Refusals) {
        return Err(error);
    }
    check_sources(&statement, scope)?;
    replace_names(&mut statement);
    Ok(Parsed {
        statement,
        explain,
        marks,
    })
}

/// Puts the views that are read in front of a query, each before those that read it.
fn add_views(statement: &mut Statement, views: &[View]) -> Result<()> {
    let mut wanted = read(statement);
    let mut common = vec![];
    for view in views.iter().rev() {
        let Some((_, span)) = wanted.iter().find(|(name, _)| *name == view.name).cloned() else {
            continue;
        };
        let (inner, _) = self::statement(&view.sql)?;
        wanted.extend(read(&inner).into_iter().map(|(name, _)| (name, span)));
        let Statement::Query(query) = inner else { continue };
        if query.order_by.is_some() || query.limit_clause.is_some() {
            let name = &view.name;
            let message = format!("the result of `{name}` has an order or a limit, which only its sink can see");
            return Err(SqlError::at(span, message));
        }
        common.push(common_table(&view.name, query));
    }
    if let (Statement::Query(query), false) = (statement, common.is_empty()) {
        let with = query.with.get_or_insert_with(|| With {
            with_token: AttachedToken::empty(),
            recursive: false,
            cte_tables: vec![],
        });
        common.reverse();
        with.cte_tables.splice(..0, common);
    }
    Ok(())
}

fn common_table(name: &str, query: Box<Query>) -> Cte {
    Cte {
        alias: TableAlias {
            explicit: true,
            name: Ident::with_quote('"', name),
            columns: vec![],
            at: None,
        },
        query,
        from: None,
        materialized: None,
        closing_paren_token: AttachedToken::empty(),
    }
}

/// Returns what the query in `sql` reads.
pub(super) fn sources(sql: &str) -> Result<Vec<Reference>> {
    let (mut statement, _) = statement(sql)?;
    let calls = take_calls(&mut statement)?;
    let mut found: Vec<Reference> = vec![];
    for (name, _) in read(&statement) {
        if found.iter().all(|known| known.name != name) {
            let call = calls.iter().find(|(call, _)| *call == name);
            let call = call.map(|(_, call)| call.clone());
            found.push(Reference { name, call });
        }
    }
    Ok(found)
}

/// Returns the one statement in `sql`, and whether it stood in an `EXPLAIN`.
fn statement(sql: &str) -> Result<(Statement, bool)> {
    let parser = Parser::new(&GenericDialect {}).with_recursion_limit(NESTING_MAX);
    let mut statements = parser.with_tokens_with_locations(tokens(sql)?).parse_statements()?;
    let statement = statements.pop().ok_or_else(|| SqlError::new("there is no query"))?;
    if !statements.is_empty() {
        return Err(SqlError::at(
            statement.span(),
            "one query is expected, this is one more",
        ));
    }
    match statement {
        Statement::Explain { statement, .. } => Ok((*statement, true)),
        statement => Ok((statement, false)),
    }
}

/// Returns the tokens of `sql`, in which `offset` is the clause before a number and a name elsewhere.
///
/// Every Kafka source has a column `offset`. To the parser the word always begins the clause, and after a comma it ends the
/// list of columns.
fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let mut tokens = tokens.map_err(ParserError::from)?;
    let mut is_before_number = false;
    for token in tokens.iter_mut().rev() {
        match &mut token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.keyword == Keyword::OFFSET && !is_before_number => {
                word.keyword = Keyword::NoKeyword;
            }
            _ => {}
        }
        is_before_number = matches!(token.token, Token::Number(..));
    }
    Ok(tokens)
}

impl Marks {
    fn of(query: &Query) -> Self {
        let group_by = match query.body.as_ref() {
            SetExpr::Select(select) => known(select.group_by.span()),
            _ => None,
        };
        Self {
            query: query.span(),
            order_by: query.order_by.as_ref().and_then(|order| known(order.span())),
            limit: query.limit_clause.as_ref().and_then(|limit| known(limit.span())),
            group_by,
        }
    }

    /// Returns the error at the grouping, or at the query when it has none.
    pub(super) fn at_group_by(&self, message: impl Into<String>) -> SqlError {
        SqlError::at(self.group_by.unwrap_or(self.query), message)
    }

    /// Returns the error at `ORDER BY` or `LIMIT`, whichever there is.
    pub(super) fn at_order(&self, message: impl Into<String>) -> SqlError {
        SqlError::at(self.order_by.or(self.limit).unwrap_or(self.query), message)
    }
}

fn known(span: Span) -> Option<Span> {
    (span != Span::empty()).then_some(span)
}

/// Returns the functions that are called, with where they stand, in the order of the text.
pub(super) fn calls(statement: &Statement) -> Vec<(String, Span)> {
    let mut calls = vec![];
    let _ = visit_expressions(statement, |expr| {
        if let Expr::Function(function) = expr {
            calls.push((name_of(function), function.name.span()));
        }
        ControlFlow::<()>::Continue(())
    });
    calls
}

/// Checks that what is read is a source.
fn check_sources(statement: &Statement, scope: &Scope) -> Result<()> {
    let tables = scope.tables.iter().map(|table| table.name.as_str());
    let views = scope.views.iter().map(|view| view.name.as_str());
    let names: Vec<_> = tables.chain(views).collect();
    let unknown = read(statement)
        .into_iter()
        .find(|(name, _)| !names.contains(&name.as_str()));
    match unknown {
        Some((name, span)) => {
            let message = format!("there is no source `{name}`; there are: {}", names.join(", "));
            Err(SqlError::at(span, message))
        }
        None => Ok(()),
    }
}

/// Returns what is read, and where it says so: every name in `FROM` that is no common table.
fn read(statement: &Statement) -> Vec<(String, Span)> {
    let mut common = CommonTables::default();
    let _ = statement.visit(&mut common);
    let mut names = vec![];
    let _ = visit_relations(statement, |relation| {
        let name = match relation.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => normal(ident),
            _ => relation.to_string(),
        };
        if !common.0.contains(&name) {
            names.push((name, relation.span()));
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

/// Without quotes the planner takes names in lower case.
fn normal(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The names that `WITH` gives.
#[derive(Default)]
struct CommonTables(Vec<String>);

impl Visitor for CommonTables {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(tables.map(|table| normal(&table.alias.name)));
        ControlFlow::Continue(())
    }
}

/// Looks for what can't run, and says what to write instead.
struct Refusals;

impl Visitor for Refusals {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        if let Some(with) = query.with.as_ref().filter(|with| with.recursive) {
            return refuse(with.span(), "WITH RECURSIVE has no place in a stream: write plain WITH");
        }
        match query.body.as_ref() {
            SetExpr::SetOperation { op, set_quantifier, .. } => {
                refuse_set_operation(*op, *set_quantifier, query.body.span())
            }
            SetExpr::Values(_) => refuse(query.body.span(), "VALUES is no input: select FROM a source"),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        let joined = select
            .from
            .iter()
            .flat_map(|table| &table.joins)
            .map(|join| join.span())
            .next();
        let second = select.from.get(1).map(|table| table.span());
        if let Some(span) = joined.or(second) {
            return refuse(
                span,
                "a JOIN can't run as a stream: UNION ALL puts rows of several sources together; or join the results",
            );
        }
        if let Some(qualify) = &select.qualify {
            return refuse(
                qualify.span(),
                "QUALIFY needs window functions, which can't run as a stream",
            );
        }
        match (select.from.is_empty(), select.projection.is_empty()) {
            (true, _) => refuse(select.span(), "there is nothing to read: FROM is missing"),
            (_, true) => refuse(
                select.span(),
                "there is nothing to put out: write columns, or *, after SELECT",
            ),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        match expr {
            Expr::Function(function) => refuse_function(function, expr.span()),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => refuse(
                expr.span(),
                "a subquery in an expression is a join, which can't run as a stream: write the values, or use FROM (SELECT ...)",
            ),
            Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) => refuse(
                expr.span(),
                "several groupings at once can't run: write one query for each GROUP BY",
            ),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn refuse_function(function: &Function, span: Span) -> ControlFlow<SqlError> {
    if function.over.is_some() {
        return refuse(
            span,
            "a window function with OVER can't run as a stream: group by tumble(time, '1 minute') or hop(...) instead",
        );
    }
    match name_of(function).as_str() {
        "unnest_outer" => refuse(span, "unnest_outer is not known: write unnest(tokenize(text))"),
        _ => ControlFlow::Continue(()),
    }
}

fn refuse_set_operation(op: SetOperator, quantifier: SetQuantifier, span: Span) -> ControlFlow<SqlError> {
    match (op, quantifier) {
        (SetOperator::Union, SetQuantifier::All) => ControlFlow::Continue(()),
        (SetOperator::Union, _) => refuse(
            span,
            "UNION removes duplicates of an endless input: write UNION ALL, and SELECT DISTINCT around it",
        ),
        (op, _) => refuse(
            span,
            format!("{op} compares two whole results, which a stream has not: use WHERE"),
        ),
    }
}

fn refuse(span: Span, message: impl Into<String>) -> ControlFlow<SqlError> {
    ControlFlow::Break(SqlError::at(span, message))
}

fn name_of(function: &Function) -> String {
    function.name.to_string().to_lowercase()
}

/// Replaces the names of Spark and Flink by those of the functions that do the same:
///
/// ```text
/// window(t, size)        -> tumble(t, size)            tumble_end(t, size)      -> window_end(tumble(t, size), size)
/// window(t, size, slide) -> hop(t, slide, size)        hop_end(t, slide, size)  -> window_end(hop(t, slide, size), size)
/// session_window(t, gap)  -> session(t, gap)           session_end(t, gap)      -> window_end(max(t), gap)
/// tumble_start, hop_start, session_start -> tumble, hop, session
/// ```
fn replace_names(statement: &mut Statement) {
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr
            && let Some(replaced) = replaced(function)
        {
            *expr = replaced;
        }
        ControlFlow::<()>::Continue(())
    });
}

fn replaced(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let args = list.args.as_slice();
    let call = |name, args: &[&FunctionArg]| Expr::Function(named(function, name, args));
    match (name_of(function).as_str(), args) {
        ("window", [time, size]) => Some(call("tumble", &[time, size])),
        ("window", [time, size, slide]) => Some(call("hop", &[time, slide, size])),
        ("tumble_start", [time, size]) => Some(call("tumble", &[time, size])),
        ("hop_start", [time, slide, size]) => Some(call("hop", &[time, slide, size])),
        ("session_window" | "session_start", [time, gap]) => Some(call("session", &[time, gap])),
        ("session_end", [time, gap]) => Some(window_end(function, call("max", &[time]), gap)),
        ("tumble_end", [time, size]) => Some(window_end(function, call("tumble", &[time, size]), size)),
        ("hop_end", [time, slide, size]) => Some(window_end(function, call("hop", &[time, slide, size]), size)),
        _ => None,
    }
}

fn window_end(function: &Function, start: Expr, size: &FunctionArg) -> Expr {
    Expr::Function(named(
        function,
        "window_end",
        &[&FunctionArg::Unnamed(start.into()), size],
    ))
}

/// Returns the call of another function where `function` stands.
fn named(function: &Function, name: &str, args: &[&FunctionArg]) -> Function {
    let mut call = function.clone();
    let ident = Ident::with_span(function.name.span(), name);
    call.name = ObjectName(vec![ObjectNamePart::Identifier(ident)]);
    if let FunctionArguments::List(list) = &mut call.args {
        list.args = args.iter().map(|arg| (*arg).clone()).collect();
    }
    call
}
