//! What a query has become.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use engine::operator::expression::column;
use engine::operator::project::Project;
use engine::operator::{Operator, OutputMode, StatefulOperator};
use engine::pipeline::{Branch, Query};
use engine::sink::Sink;

/// The parts of a pipeline that a query is made of, in the order in which rows pass them.
#[derive(Debug)]
pub struct Planned {
    /// What it reads; at least one source, each once.
    pub inputs: Vec<PlannedInput>,
    /// What is kept over batches, if anything.
    pub aggregate: Option<Box<dyn StatefulOperator>>,
    /// The columns of the result that name a row, if rows may be taken back: what the key of a record must be made of.
    pub retraction_key: Option<Vec<String>>,
    /// The window of the groups, if they have one of a fixed size.
    pub window: Option<Window>,
    /// What happens to the rows that the aggregate puts out. With `ORDER BY` or `LIMIT` they must come as one batch.
    pub finish: Vec<Arc<dyn Operator>>,
    /// Without an aggregate: what happens to the whole result, as one batch, when the input has ended (`ORDER BY`, `LIMIT`).
    pub whole: Vec<Arc<dyn Operator>>,
    /// Whether the rows of the result come in an order that the query asks for.
    pub is_ordered: bool,
    /// The columns of the result.
    pub schema: SchemaRef,
    /// Whether the query is an `EXPLAIN`: only [`explain`](Self::explain) was asked for.
    pub explain_only: bool,
}

/// What a query reads of one source.
#[derive(Debug)]
pub struct PlannedInput {
    /// The source.
    pub table: String,
    /// The columns that the query uses, in the source's order: what the source and its decoder must deliver, and no more.
    pub schema: SchemaRef,
    /// What happens to each batch of those columns.
    pub operators: Vec<Arc<dyn Operator>>,
}

/// The window that is one of an aggregate's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The key that holds its start.
    pub key: String,
    /// From its start to its end, in microseconds.
    pub size_micros: i64,
    /// From the start of one to that of the next, in microseconds: the size, unless windows overlap.
    pub slide_micros: i64,
}

impl PlannedInput {
    /// Returns the names of the columns that the source must deliver.
    pub fn columns_used(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Returns the operator that takes the query's columns out of batches of `schema`; `None` when those are all.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn narrow(&self, schema: &Schema) -> engine::Result<Option<Arc<dyn Operator>>> {
        if schema.fields() == self.schema.fields() {
            return Ok(None);
        }
        let names = self.columns_used();
        let columns = names.into_iter().map(|name| (name.clone(), column(name))).collect();
        Ok(Some(Arc::new(Project::new(columns, schema)?)))
    }

    /// Returns what the query makes of the batches of `schema`, which are those of input `number` of a job.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn into_branch(self, number: usize, schema: &Schema) -> engine::Result<Branch> {
        let narrow = self.narrow(schema)?;
        Ok(Branch {
            input: number,
            operators: narrow.into_iter().chain(self.operators).collect(),
        })
    }
}

impl Planned {
    /// Returns what the query reads of a source, if it does.
    pub fn input(&self, table: &str) -> Option<&PlannedInput> {
        self.inputs.iter().find(|input| input.table == table)
    }

    /// Returns the query over batches of `schema`, of the only input of a job, with its rows going to `sink`.
    ///
    /// # Errors
    /// When a column is missing, or the query has an `ORDER BY` or `LIMIT` that needs the [`whole`](Self::whole) result.
    pub fn into_query(self, schema: &Schema, mode: OutputMode, sink: Box<dyn Sink>) -> engine::Result<Query> {
        self.into_query_over(|_| (0, schema), mode, sink)
    }

    /// Returns the query over the inputs of a job: `input_of` gives the number and the columns of the one that a source is.
    ///
    /// # Errors
    /// As [`into_query`](Self::into_query).
    pub fn into_query_over<'a>(
        self,
        input_of: impl Fn(&str) -> (usize, &'a Schema),
        mode: OutputMode,
        sink: Box<dyn Sink>,
    ) -> engine::Result<Query> {
        if !self.whole.is_empty() {
            let text = "ORDER BY and LIMIT need a result that is put out as a whole: an aggregate in mode complete, or \
                        `millstream query`";
            return Err(engine::Error::Invalid(text.to_owned()));
        }
        let branch = |input: PlannedInput| {
            let (number, schema) = input_of(&input.table);
            input.into_branch(number, schema)
        };
        Ok(Query {
            branches: self.inputs.into_iter().map(branch).collect::<engine::Result<_>>()?,
            aggregate: self.aggregate,
            finish: self.finish,
            mode,
            ..Query::new(sink)
        })
    }

    /// Returns the plan as text: one line a step, in the order in which rows pass them.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let steps =
            |operators: &[Arc<dyn Operator>]| operators.iter().map(|operator| operator.describe()).collect::<Vec<_>>();
        for input in &self.inputs {
            let _ = writeln!(text, "read {} ({})", input.table, input.columns_used().join(", "));
            for step in steps(&input.operators) {
                let _ = writeln!(text, "{step}");
            }
        }
        if self.inputs.len() > 1 {
            let names: Vec<_> = self.inputs.iter().map(|input| input.table.as_str()).collect();
            let _ = writeln!(text, "the rows of {} together", names.join(", "));
        }
        let aggregate = self.aggregate.iter().map(|aggregate| aggregate.describe());
        for step in aggregate.chain(steps(&self.finish)).chain(steps(&self.whole)) {
            let _ = writeln!(text, "{step}");
        }
        let columns: Vec<_> = self
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        let _ = writeln!(text, "result ({})", columns.join(", "));
        text
    }
}
