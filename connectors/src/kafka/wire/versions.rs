//! Which requests a broker knows, and in which versions we ask (`ApiVersions`).

use super::input::{Input, Malformed};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Fetch,
    Metadata,
    SaslHandshake,
    Versions,
    SaslAuthenticate,
}

/// What is known about a kind of request: its name and key, the versions that we write, and the first flexible one.
#[derive(Debug)]
struct Known {
    api: Api,
    name: &'static str,
    key: i16,
    oldest: i16,
    newest: i16,
    flexible: i16,
}

/// The oldest versions are those of Kafka 2.1, the first one whose fetch carries zstd and whose metadata has leader epochs.
const KNOWN: &[Known] = &[
    known(Api::Fetch, "Fetch", 1, 10, 16, 12),
    known(Api::Metadata, "Metadata", 3, 7, 12, 9),
    known(Api::SaslHandshake, "SaslHandshake", 17, 1, 1, i16::MAX),
    known(Api::Versions, "ApiVersions", 18, 0, 0, 3),
    known(Api::SaslAuthenticate, "SaslAuthenticate", 36, 0, 2, 2),
];

const fn known(api: Api, name: &'static str, key: i16, oldest: i16, newest: i16, flexible: i16) -> Known {
    Known {
        api,
        name,
        key,
        oldest,
        newest,
        flexible,
    }
}

impl Api {
    fn known(self) -> &'static Known {
        let mut all = KNOWN.iter();
        all.find(|known| known.api == self)
            .expect("every kind of request is in the table")
    }

    pub(super) fn key(self) -> i16 {
        self.known().key
    }

    pub(super) fn name(self) -> &'static str {
        self.known().name
    }

    /// Returns whether a version writes lengths as varints and has tagged fields.
    pub(super) fn is_flexible(self, version: i16) -> bool {
        version >= self.known().flexible
    }
}

/// The versions that a broker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Versions {
    /// Key, oldest and newest version.
    ranges: Vec<(i16, i16, i16)>,
}

impl Versions {
    /// Returns what is assumed until the broker has said it: the oldest version of each request.
    pub(super) fn unasked() -> Self {
        let range = |known: &Known| (known.key, known.oldest, known.oldest);
        Self {
            ranges: KNOWN.iter().map(range).collect(),
        }
    }

    /// Reads the answer of version 0; the error code is 0 or 35, whose answer has the same form.
    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        input.i16()?;
        let count = input.count(6)?;
        let range = |_| Ok((input.i16()?, input.i16()?, input.i16()?));
        Ok(Self {
            ranges: (0..count).map(range).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the newest version up to `limit` that both sides know.
    ///
    /// # Errors
    /// What the broker offers and what is needed, when there is none.
    pub(super) fn choose(&self, api: Api, limit: i16) -> Result<i16, String> {
        let known = api.known();
        let offered = self.ranges.iter().find(|(key, ..)| *key == known.key);
        let newest = known.newest.min(limit);
        let chosen = offered.map(|&(_, oldest, newest_there)| (oldest, newest.min(newest_there)));
        match (chosen, offered) {
            (Some((oldest, version)), _) if version >= oldest.max(known.oldest) => Ok(version),
            (_, Some((_, oldest, newest_there))) => Err(format!(
                "the broker offers {} in the versions {oldest} to {newest_there}, and {} to {newest} can be read",
                known.name, known.oldest
            )),
            (_, None) => Err(format!("the broker does not offer {}", known.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(ranges: &[(i16, i16, i16)]) -> Versions {
        Versions {
            ranges: ranges.to_vec(),
        }
    }

    #[test]
    fn the_newest_version_that_both_know_is_chosen() {
        let broker = versions(&[(1, 4, 11), (3, 0, 99)]);
        assert_eq!(broker.choose(Api::Fetch, i16::MAX), Ok(11));
        assert_eq!(broker.choose(Api::Metadata, i16::MAX), Ok(12));
        assert_eq!(broker.choose(Api::Metadata, 8), Ok(8));
    }

    #[test]
    fn a_broker_that_is_too_old_or_too_new_is_named_with_its_versions() {
        let old = versions(&[(1, 0, 9)]);
        let problem = old.choose(Api::Fetch, i16::MAX).expect_err("before zstd");
        assert_eq!(
            problem,
            "the broker offers Fetch in the versions 0 to 9, and 10 to 16 can be read"
        );
        assert!(versions(&[(1, 40, 50)]).choose(Api::Fetch, i16::MAX).is_err());
        assert!(versions(&[]).choose(Api::Fetch, i16::MAX).is_err());
    }

    #[test]
    fn an_answer_is_read() {
        let bytes = [0, 0, 0, 0, 0, 1, 0, 1, 0, 4, 0, 17];
        let read = Versions::read(&mut Input::new(&bytes, false));
        assert_eq!(read, Ok(versions(&[(1, 4, 17)])));
        let claims_more = [0, 0, 0, 0, 0, 2, 0, 1, 0, 4, 0, 17];
        assert!(Versions::read(&mut Input::new(&claims_more, false)).is_err());
    }
}
