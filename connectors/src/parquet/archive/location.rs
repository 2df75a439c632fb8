//! Where an archive is: a folder, or a bucket of an object store with a prefix.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use engine::{Error, Result};

use super::folder::FolderSite;
use super::site::{HeldSite, Site};

/// The object stores, by the schemes of their addresses.
const SCHEMES: [(&str, Service); 3] = [("s3", Service::S3), ("gs", Service::Google), ("az", Service::Azure)];

/// An object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3, and all that speak its language.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

/// Where an archive is, as the user says it: a path, or `s3://BUCKET/PREFIX`, `gs://…`, `az://CONTAINER/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder.
    Folder(PathBuf),
    /// A bucket, and what the names in it begin with.
    Bucket(Address),
}

/// A bucket, and what the names in it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whose bucket it is.
    pub service: Service,
    /// The bucket; in Azure the container.
    pub bucket: String,
    /// What the names begin with, without a `/` at the ends; empty for the whole bucket.
    pub prefix: String,
}

impl Location {
    /// Returns what reads an archive there. Nothing is asked yet.
    ///
    /// # Errors
    /// When this build has no object stores, or the settings of one can't be used.
    pub fn site(&self) -> Result<Arc<dyn Site>> {
        match self {
            Self::Folder(path) => Ok(Arc::new(FolderSite::new(path))),
            #[cfg(feature = "object-store")]
            Self::Bucket(address) => Ok(Arc::new(super::bucket::Bucket::new(address)?)),
            #[cfg(not(feature = "object-store"))]
            Self::Bucket(address) => Err(without_stores(address)),
        }
    }

    /// Takes the right to write to an archive there, or to a new one.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::HeldBy`] while another process has it; when something else is there, it can't be written,
    /// or this build has no object stores.
    pub(super) fn hold(&self) -> Result<Box<dyn HeldSite>> {
        match self {
            Self::Folder(path) => Ok(Box::new(FolderSite::new(path).hold()?)),
            #[cfg(feature = "object-store")]
            Self::Bucket(address) => Ok(Box::new(super::bucket::Bucket::new(address)?.hold()?)),
            #[cfg(not(feature = "object-store"))]
            Self::Bucket(address) => Err(without_stores(address)),
        }
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        let Some((_, service)) = SCHEMES.iter().find(|(name, _)| *name == scheme) else {
            return Err(format!(
                "`{scheme}://` is no place of an archive: expected a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or \
                 az://CONTAINER/PREFIX"
            ));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return Err(format!(
                "secrets do not belong into an address: expected {scheme}://BUCKET/PREFIX, and the keys in the environment"
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_part = |part: &str| !["", ".", ".."].contains(&part) && !part.contains(['?', '#']);
        if bucket.is_empty() || (!prefix.is_empty() && !prefix.split('/').all(is_part)) {
            return Err(format!("expected {scheme}://BUCKET/PREFIX, not `{text}`"));
        }
        Ok(Self::Bucket(Address {
            service: *service,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }))
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Folder(path)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, service)| *service == self.service);
        let scheme = scheme.map_or("", |(name, _)| name);
        match self.prefix.as_str() {
            "" => write!(f, "{scheme}://{}", self.bucket),
            prefix => write!(f, "{scheme}://{}/{prefix}", self.bucket),
        }
    }
}

/// Refuses the address of an object store where only a folder can be: it would be taken for the name of one.
///
/// # Errors
/// When it is such an address: `what` can't be there.
pub fn check_folder(path: &Path, what: &str) -> Result<()> {
    match path.to_str().filter(|text| text.contains("://")) {
        Some(address) => Err(Error::Invalid(format!(
            "{what} can't be in an object store, only an archive of `replay` can: expected a folder, not {address}"
        ))),
        None => Ok(()),
    }
}

#[cfg(not(feature = "object-store"))]
fn without_stores(address: &Address) -> Error {
    Error::Invalid(format!(
        "{address}: this build has no object stores: build it with the feature `object-store`, or name a folder"
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_service_a_bucket_and_a_prefix() {
        for (text, service, prefix) in [
            ("s3://logs/a/b", Service::S3, "a/b"),
            ("gs://logs/a=1", Service::Google, "a=1"),
            ("az://logs", Service::Azure, ""),
        ] {
            let location: Location = text.parse().unwrap();
            let expected = Address {
                service,
                bucket: "logs".to_owned(),
                prefix: prefix.to_owned(),
            };
            assert_eq!(location, Location::Bucket(expected));
            assert_eq!(location.to_string(), text);
        }
        let location: Location = "s3://logs/a/".parse().unwrap();
        assert_eq!(location.to_string(), "s3://logs/a", "a slash at the end means nothing");
        let folder: Location = "some/folder".parse().unwrap();
        assert_eq!(folder, Location::Folder("some/folder".into()));
    }

    #[cfg(not(feature = "object-store"))]
    #[test]
    fn a_build_without_object_stores_says_so() {
        let location: Location = "s3://logs/a".parse().unwrap();
        let error = location.site().unwrap_err().to_string();
        assert!(
            error.starts_with("s3://logs/a: this build has no object stores"),
            "{error}"
        );
        assert!(location.hold().is_err());
    }

    #[test]
    fn what_is_no_address_is_refused_and_secrets_are_not_repeated() {
        for text in [
            "s3://",
            "s3:///a",
            "s3://a//b",
            "gs://a/../b",
            "s3://a/b?c",
            "az://a/./b",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(error.contains("://BUCKET/PREFIX, not `"), "{error}");
        }
        let error = "http://a/b".parse::<Location>().unwrap_err();
        assert!(error.starts_with("`http://` is no place of an archive"), "{error}");
        let error = "s3://key:canary@bucket/a".parse::<Location>().unwrap_err();
        assert!(
            error.contains("the keys in the environment") && !error.contains("canary"),
            "{error}"
        );
    }
}
