//! `SELECT DISTINCT ON (key, ...)`: the first row of each key, as long as the watermark may bring another.

use datafusion_expr::Expr;
use datafusion_expr::logical_plan::DistinctOn;
use engine::operator::StatefulOperator;
use engine::operator::deduplicate::Deduplicate;

use super::super::error::{Result, SqlError};
use super::{Lowering, Slot, Wanted, names_for, plain_column};

impl Lowering<'_> {
    pub(super) fn distinct_on(&mut self, distinct: &DistinctOn, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let below = distinct.input.schema();
        let mut slots = self.lower(&distinct.input, &vec![None; below.fields().len()])?;
        self.check_input()?;
        if distinct.sort_expr.is_some() {
            return Err(self
                .marks
                .at_order("DISTINCT ON keeps the row that comes first: it takes no ORDER BY"));
        }
        let time = slots
            .iter()
            .find(|slot| slot.source.is_some() && slot.source == self.table.event_time);
        let time = time.map(|slot| slot.name.clone()).ok_or_else(|| {
            let message = "DISTINCT ON remembers a key by the event time, which is not here: give the source one, or write \
                           first(x, time) for each column, with GROUP BY";
            SqlError::at(self.marks.query, message)
        })?;
        let columns = slots.len();
        let is_made = |key: &&Expr| plain_column(key).is_none();
        let made: Vec<_> = distinct.on_expr.iter().filter(is_made).cloned().collect();
        if !made.is_empty() {
            slots = self.add(&made, below, &slots)?;
        }
        let mut keys: Vec<_> = slots[columns..].iter().map(|slot| slot.name.as_str()).collect();
        for column in distinct.on_expr.iter().filter_map(plain_column) {
            keys.push(&slots[below.index_of_column(column)?].name);
        }
        let operator = Deduplicate::new(&keys, &time, &self.schema)?;
        self.schema = operator.schema();
        self.aggregate = Some(Box::new(operator));
        (self.is_windowed, self.closes) = (true, true);
        slots.truncate(columns);
        let names = names_for(&distinct.schema, wanted);
        self.make(&distinct.select_expr, names, below, slots)
    }
}
