//! What the footer of each file says of it, so that a file is known without its archive.

use engine::{OffsetRange, Partition};

/// The facts in a file's footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The topic and the partition.
    pub partition: Partition,
    /// The offsets that the file covers.
    pub offsets: OffsetRange,
    /// The topic's id, where the brokers have ids.
    pub topic_id: Option<String>,
    /// The cluster's id, where the brokers tell.
    pub cluster_id: Option<String>,
    /// The rows.
    pub rows: u64,
}

const PREFIX: &str = "millstream.";
const TOPIC: &str = "topic";
const PARTITION: &str = "partition";
const FROM: &str = "offset.from";
const TO: &str = "offset.to";
const TOPIC_ID: &str = "topic.id";
const CLUSTER_ID: &str = "cluster.id";
const ROWS: &str = "rows";

impl Footer {
    /// Returns the pairs of a file's footer; the keys are without their prefix `millstream.`.
    pub(in super::super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (TOPIC, self.partition.stream.to_string()),
            (PARTITION, self.partition.index.to_string()),
            (FROM, self.offsets.from.to_string()),
            (TO, self.offsets.to.to_string()),
            (ROWS, self.rows.to_string()),
        ];
        pairs.extend(self.topic_id.clone().map(|id| (TOPIC_ID, id)));
        pairs.extend(self.cluster_id.clone().map(|id| (CLUSTER_ID, id)));
        pairs
    }

    /// Returns what the pairs of a footer say; `None` when they are not those of an archive's file.
    pub fn from_pairs<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Option<Self> {
        let ours = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
        let pairs: std::collections::HashMap<&str, &str> = ours.collect();
        let text = |key: &str| pairs.get(key).map(|&value| value.to_owned());
        Some(Self {
            partition: Partition::new(*pairs.get(TOPIC)?, pairs.get(PARTITION)?.parse().ok()?),
            offsets: OffsetRange {
                from: pairs.get(FROM)?.parse().ok()?,
                to: pairs.get(TO)?.parse().ok()?,
            },
            topic_id: text(TOPIC_ID),
            cluster_id: text(CLUSTER_ID),
            rows: pairs.get(ROWS)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_reads_back_and_that_of_another_file_is_none() {
        let footer = Footer {
            partition: Partition::new("web", 3),
            offsets: OffsetRange { from: 5, to: 12 },
            topic_id: Some("KQ".to_owned()),
            cluster_id: None,
            rows: 6,
        };
        let pairs: Vec<_> = footer
            .pairs()
            .into_iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), value))
            .collect();
        let texts = || pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        assert_eq!(Footer::from_pairs(texts()), Some(footer));
        assert_eq!(Footer::from_pairs(texts().skip(1)), None);
    }
}
