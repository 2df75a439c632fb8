//! Consumer groups of a broker: what they committed, and the lag that Kafka's own tool shows.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::broker::Broker;
use super::{PATIENCE, jvm};

/// What a group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The partition's number.
    pub(crate) partition: i32,
    /// The next offset to read; `None` when nothing was committed.
    pub(crate) offset: Option<i64>,
    /// The text stored with the offset, empty if none was.
    pub(crate) metadata: String,
}

/// A line of `kafka-consumer-groups --describe`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lag {
    /// The topic's name.
    pub(crate) topic: String,
    /// The partition's number.
    pub(crate) partition: i32,
    /// The committed offset, `None` for `-`.
    pub(crate) committed: Option<i64>,
    /// The end of the partition, `None` for `-`.
    pub(crate) end: Option<i64>,
    /// How many offsets the group has still to read, `None` for `-`.
    pub(crate) lag: Option<i64>,
}

impl Broker {
    /// Returns what `group` committed for every partition of `topic`, by partition number; offsets of an open
    /// transaction are waited for.
    ///
    /// # Panics
    /// When the broker does not answer.
    #[track_caller]
    pub(crate) fn committed(&self, group: &str, topic: &str) -> Vec<Committed> {
        let partitions = i32::try_from(self.bounds(topic).len()).expect("few partitions");
        let settings = [("group.id", group), ("enable.auto.commit", "false")];
        let consumer: BaseConsumer = self.client(&settings).create().expect("a valid configuration");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let answer = consumer.committed_offsets(asked, PATIENCE).expect("the broker answers");
        let committed = answer.elements().into_iter().map(|element| Committed {
            partition: element.partition(),
            offset: match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            },
            metadata: element.metadata().to_owned(),
        });
        // Copied while the consumer lives: a list that outlives its consumer keeps it from closing.
        committed.collect()
    }

    /// Returns what `kafka-consumer-groups --describe --group GROUP` shows, in order of topic and partition.
    ///
    /// # Panics
    /// When the tool fails or prints a table of another form.
    #[track_caller]
    pub(crate) fn describe_group(&self, group: &str) -> Vec<Lag> {
        let tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let arguments = ["--bootstrap-server", self.bootstrap(), "--describe", "--group", group];
        let output = jvm::run_tool(tool, &arguments);
        let mut rows = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let header = rows.find(|row| row.first() == Some(&"GROUP"));
        let header = header.unwrap_or_else(|| panic!("a table with a header line, not:\n{output}"));
        let column = |name: &str| {
            let found = header.iter().position(|column| *column == name);
            found.unwrap_or_else(|| panic!("a column {name} in:\n{output}"))
        };
        let (topic, partition) = (column("TOPIC"), column("PARTITION"));
        let (committed, end, lag) = (column("CURRENT-OFFSET"), column("LOG-END-OFFSET"), column("LAG"));
        let mut lags: Vec<_> = rows
            .filter(|row| row.first() == Some(&group))
            .map(|row| Lag {
                topic: row[topic].to_owned(),
                partition: row[partition].parse().expect("a partition's number"),
                committed: row[committed].parse().ok(),
                end: row[end].parse().ok(),
                lag: row[lag].parse().ok(),
            })
            .collect();
        lags.sort();
        lags
    }
}
