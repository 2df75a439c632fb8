//! The requests that an archive in a bucket needs. They wait here for their answers: what calls them has threads of its own.
//!
//! The client beneath tries again by itself, with growing pauses, what failed with 5xx or 429, and goes on with a body that broke
//! off; what a connection that broke left open is repeated here, where that does no harm. Conditional writes whose answer
//! got lost are not: whether they were done is for [`super::ledger`] to find out.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Error, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use tokio::runtime::{Builder, Runtime};

use super::super::location::{Address, Service};

/// Requests of one call that are under way at once: enough to fill a line whose answers take their time, and few enough that
/// their parts need little memory.
const REQUESTS: usize = 4;

/// Threads of the runtime: they only wait and copy.
const RUNTIME_THREADS: usize = 2;

/// Requests for the same, beside those of the client beneath; and how long after the first one the last may begin, which is
/// how long that one tries.
const TRIES: u32 = 6;
const TRY_FOR: Duration = Duration::from_secs(180);

/// The pause before the second request; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// A bucket, and what the names of an archive in it begin with.
#[derive(Debug)]
pub(super) struct Client {
    /// The address as a path, for messages.
    root: PathBuf,
    prefix: Path,
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn Uploads>,
    runtime: Runtime,
}

/// A store of uploads in parts.
trait Uploads: MultipartStore + std::fmt::Debug {}

impl<S: MultipartStore + std::fmt::Debug> Uploads for S {}

/// An object's content, and what says that it is still this one.
#[derive(Clone, Debug)]
pub(super) struct Versioned {
    pub(super) bytes: Vec<u8>,
    pub(super) version: UpdateVersion,
}

/// What became of a conditional write.
pub(super) enum Put {
    /// It was written, and has this version now.
    Done(UpdateVersion),
    /// The object is another one than was expected.
    Changed,
}

/// A part of a file, of which so many bytes are to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) upload: &'a str,
    pub(super) index: usize,
    pub(super) file: &'a FilePath,
    pub(super) from: u64,
    pub(super) bytes: u64,
}

impl Client {
    /// Returns a client of the bucket, whose settings are in the environment. Nothing is asked yet.
    ///
    /// # Errors
    /// When the settings can't be used.
    pub(super) fn new(address: &Address) -> Result<Self> {
        let root = PathBuf::from(address.to_string());
        let built = match address.service {
            Service::S3 => {
                let builder = AmazonS3Builder::from_env().with_bucket_name(&address.bucket);
                builder.build().map(both)
            }
            Service::Google => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&address.bucket);
                builder.build().map(both)
            }
            Service::Azure => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(&address.bucket);
                builder.build().map(both)
            }
        };
        let variables = variables(address.service);
        let (objects, uploads) = built.map_err(|error| {
            Error::Invalid(format!(
                "{address}: the settings in {variables} can't be used: {}",
                reason(&error)
            ))
        })?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("object-store")
            .enable_all()
            .build();
        Ok(Self {
            prefix: Path::parse(&address.prefix).map_err(|error| Error::Invalid(format!("{address}: {error}")))?,
            runtime: runtime.map_err(Error::io("start threads for", &root))?,
            root,
            objects,
            uploads,
        })
    }

    /// Returns the address as a path, for messages.
    pub(super) fn root(&self) -> &FilePath {
        &self.root
    }

    /// Returns the content of an object; `None` when it is not there.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn get(&self, name: &str) -> Result<Option<Versioned>> {
        let path = self.path(name)?;
        let read = async || {
            let found = self.objects.get_opts(&path, GetOptions::default()).await?;
            let version = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            let bytes = found.bytes().await?.to_vec();
            Ok(Versioned { bytes, version })
        };
        self.wait_for(async || match read().await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(Act::Read, name, &error)),
        })
    }

    /// Writes an object, if it is still of this version, or not there at all if that is `None`.
    ///
    /// # Errors
    /// When it can't be written, or it is not known whether it was.
    pub(super) fn put(&self, name: &str, bytes: &[u8], expected: Option<&UpdateVersion>) -> Result<Put> {
        let options = PutOptions {
            mode: expected.map_or(PutMode::Create, |version| PutMode::Update(version.clone())),
            ..PutOptions::default()
        };
        let path = self.path(name)?;
        let put = self.objects.put_opts(&path, PutPayload::from(bytes.to_vec()), options);
        match self.runtime.block_on(put) {
            Ok(done) => Ok(Put::Done(done.into())),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Put::Changed)
            }
            // What was to be replaced is gone. Without a version it is the bucket that is not there.
            Err(object_store::Error::NotFound { .. }) if expected.is_some() => Ok(Put::Changed),
            Err(error) => Err(self.failed(Act::Write, name, &error)),
        }
    }

    /// Removes objects, as far as they are there.
    ///
    /// # Errors
    /// When one can't be removed.
    pub(super) fn remove(&self, names: &[&str]) -> Result<()> {
        self.each(names, async |name| {
            let path = self.path(name)?;
            match self.objects.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.failed(Act::Remove, name, &error)),
            }
        })?;
        Ok(())
    }

    /// Returns the names and lengths of the objects below `folder`, or of all if that is empty; at most so many.
    ///
    /// # Errors
    /// When they can't be listed.
    pub(super) fn list(&self, folder: &str, most: usize) -> Result<Vec<(String, u64)>> {
        let prefix = match folder {
            "" => self.prefix.clone(),
            _ => self.path(folder)?,
        };
        let listed = self.wait_for(async || {
            let listed = self
                .objects
                .list(Some(&prefix))
                .take(most)
                .try_collect::<Vec<_>>()
                .await;
            listed.map_err(|error| self.failed(Act::List, folder, &error))
        })?;
        let own = match self.prefix.as_ref() {
            "" => 0,
            prefix => prefix.len() + 1,
        };
        let name = |meta: object_store::ObjectMeta| Some((meta.location.as_ref().get(own..)?.to_owned(), meta.size));
        Ok(listed.into_iter().filter_map(name).collect())
    }

    /// Returns the length of an object; `None` when it is not there.
    ///
    /// # Errors
    /// When the store does not tell.
    pub(super) fn length(&self, name: &str) -> Result<Option<u64>> {
        let path = self.path(name)?;
        self.wait_for(async || match self.objects.head(&path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(Act::Read, name, &error)),
        })
    }

    /// Copies an object to the new file `target`.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there, or the file can't be written; when it can't be read.
    pub(super) fn fetch(&self, name: &str, target: &FilePath) -> Result<()> {
        let path = self.path(name)?;
        self.wait_for(async || {
            let mut file = File::create(target).map_err(Error::io("create", target))?;
            let unreadable = |error| self.failed(Act::Read, name, &error);
            let found = self.objects.get(&path).await.map_err(unreadable)?;
            let mut pieces = found.into_stream();
            while let Some(piece) = pieces.try_next().await.map_err(unreadable)? {
                file.write_all(&piece).map_err(Error::io("write", target))?;
            }
            Ok(())
        })
    }

    /// Begins an upload of each of these objects, and returns the ids of the uploads.
    ///
    /// # Errors
    /// When one can't be begun.
    pub(super) fn begin_uploads(&self, names: &[&str]) -> Result<Vec<String>> {
        self.each(names, async |name| {
            let begun = self.uploads.create_multipart(&self.path(name)?).await;
            begun.map_err(|error| self.failed(Act::Write, name, &error))
        })
    }

    /// Uploads parts, and returns their ids.
    ///
    /// # Errors
    /// When a file can't be read, or a part can't be written.
    pub(super) fn put_parts(&self, parts: &[Part<'_>]) -> Result<Vec<String>> {
        self.each(parts, async |part| {
            let path = self.path(part.name)?;
            let payload = PutPayload::from(part.read()?);
            let upload = part.upload.to_owned();
            let put = self.uploads.put_part(&path, &upload, part.index, payload).await;
            let put = put.map_err(|error| self.failed(Act::Write, part.name, &error))?;
            Ok(put.content_id)
        })
    }

    /// Ends an upload: the object appears, whole.
    ///
    /// # Errors
    /// When the store refuses; the object may be there nevertheless.
    pub(super) fn complete_upload(&self, name: &str, upload: &str, parts: &[String]) -> Result<()> {
        let part = |id: &String| PartId { content_id: id.clone() };
        let (path, upload) = (self.path(name)?, upload.to_owned());
        let parts: Vec<_> = parts.iter().map(part).collect();
        self.wait_for(async || {
            let completed = self.uploads.complete_multipart(&path, &upload, parts.clone()).await;
            completed.map_err(|error| self.failed(Act::Write, name, &error))?;
            Ok(())
        })
    }

    /// Gives up an upload: its parts are gone, and nothing can end it any more. One that is not there is no error.
    ///
    /// # Errors
    /// When it is not known what became of it.
    pub(super) fn abort_upload(&self, name: &str, upload: &str) -> Result<()> {
        let (path, upload) = (self.path(name)?, upload.to_owned());
        self.wait_for(async || match self.uploads.abort_multipart(&path, &upload).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(Act::Remove, name, &error)),
        })
    }

    /// Waits for `act`, and tries it again where a request failed.
    fn wait_for<R>(&self, act: impl AsyncFn() -> Result<R>) -> Result<R> {
        self.runtime.block_on(again(act))
    }

    /// Waits for `act` on each item, some at once, and returns what they give in the order of the items. What fails is tried
    /// again.
    fn each<'i, T, R>(&self, items: &'i [T], act: impl AsyncFn(&'i T) -> Result<R>) -> Result<Vec<R>> {
        let (act, started) = (&act, stream::iter(items));
        let started = started.map(|item| again(async move || act(item).await));
        self.runtime.block_on(started.buffered(REQUESTS).try_collect())
    }

    /// Returns the path of an object of the archive. Names are taken as they are: they hold `%` where a value had to be
    /// escaped.
    fn path(&self, name: &str) -> Result<Path> {
        let whole = match self.prefix.as_ref() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        Path::parse(whole).map_err(|error| Error::Invalid(format!("{}: {error}", self.root.display())))
    }

    /// Returns the error of a request about the object `name`.
    fn failed(&self, act: Act, name: &str, error: &object_store::Error) -> Error {
        let path = self.root.join(name);
        if is_refusal(error) {
            return Error::Connect {
                endpoint: path.display().to_string(),
                problem: format!(
                    "the store refuses: {}; look at the keys, and at what they may do (read, write, delete and list)",
                    reason(error)
                ),
            };
        }
        match (act, error) {
            (Act::Read, object_store::Error::NotFound { .. }) => Error::io("read", path)(ErrorKind::NotFound.into()),
            // An upload that was aborted: to try again is of no use.
            (_, object_store::Error::NotFound { .. }) => {
                Error::io("write", path)(std::io::Error::new(ErrorKind::NotFound, reason(error)))
            }
            (Act::Read | Act::List, _) => Error::Source {
                input: path.display().to_string(),
                problem: reason(error),
            },
            (Act::Write | Act::Remove, _) => Error::Sink {
                output: path.display().to_string(),
                problem: reason(error),
            },
        }
    }
}

/// What a request was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Read,
    List,
    Write,
    Remove,
}

impl Part<'_> {
    fn read(&self) -> Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;

        let mut bytes = vec![0; usize::try_from(self.bytes).expect("a part fits the memory")];
        let file = File::open(self.file).map_err(Error::io("read", self.file))?;
        file.read_exact_at(&mut bytes, self.from)
            .map_err(Error::io("read", self.file))?;
        Ok(bytes)
    }
}

/// Tries `act` again where a request failed, with growing pauses.
async fn again<R>(act: impl AsyncFn() -> Result<R>) -> Result<R> {
    let (begun, mut pause) = (Instant::now(), PAUSE);
    for _ in 1..TRIES {
        match act().await {
            Err(error @ (Error::Source { .. } | Error::Sink { .. })) if begun.elapsed() < TRY_FOR => {
                tracing::debug!(%error, "a request is tried again");
            }
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    act().await
}

fn both<S: ObjectStore + Uploads>(store: S) -> (Arc<dyn ObjectStore>, Arc<dyn Uploads>) {
    let store = Arc::new(store);
    (store.clone(), store)
}

/// Returns whether a store does not know who asks, or does not let him. The error of a list is of no kind, but says so.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};

    let text = reason(error);
    matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
        || ["401 Unauthorized", "403 Forbidden"]
            .iter()
            .any(|status| text.contains(status))
}

/// Returns what the environment's variables for a service begin with.
pub(super) fn variables(service: Service) -> &'static str {
    match service {
        Service::S3 => "AWS_*",
        Service::Google => "GOOGLE_*",
        Service::Azure => "AZURE_*",
    }
}

/// Returns what an error says with all its causes. What stands behind a `?` in an address is left out: a signature may be in
/// it.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = next.source();
    }
    let words = text.split_inclusive(char::is_whitespace);
    let plain = words.map(|word| match word.split_once('?') {
        Some((address, _)) if address.contains("://") => format!("{address} "),
        _ => word.to_owned(),
    });
    plain.collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_in_addresses_are_not_told() {
        let error = std::io::Error::other("error sending request for url (https://host/a/b?sig=canary&x=1): timed out");
        assert_eq!(
            reason(&error),
            "error sending request for url (https://host/a/b timed out"
        );
    }
}
