//! Secrets that are replaced while the process runs.
//!
//! Each stands in a file. Who uses one asks for it as it is now, with [`LiveSecret`]; [`watch_secrets`] tells when one was
//! replaced, and when it cannot be read. What comes from a variable stays as it was at the start.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;

use super::{
    environment::Environment,
    folder::FolderWatch,
    secret::{Secret, SecretError, from_file},
    settings::{Credentials, SecretSource, Settings},
};

/// A secret that is read again when its file changes.
#[derive(Debug)]
pub struct LiveSecret(Kind);

#[derive(Debug)]
enum Kind {
    Fixed(Secret),
    File { path: PathBuf, last: ArcSwap<(Option<Stamp>, Secret)> },
}

/// What is different when a file was written, or another stands in its place. The time alone is too coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// A secret's file, by the key of the settings that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// As `upstreams[0].credentials`.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
}

impl LiveSecret {
    /// Reads the secret. A relative file is looked for in `base`.
    pub fn new(source: &SecretSource, base: &Path, environment: &Environment) -> Result<Self, SecretError> {
        Ok(Self(match source {
            SecretSource::Env(_) => Kind::Fixed(source.read(base, environment)?),
            SecretSource::File(path) => {
                let path = base.join(path);
                // The stamp first: what is written in between is read again.
                let stamp = stamp(&path).ok();
                let last = ArcSwap::from_pointee((stamp, from_file(&path)?));
                Kind::File { path, last }
            }
        }))
    }

    /// The secret as it is now, for who shows it: a file that is gone or cannot be read keeps its last good content.
    pub fn get(&self) -> Secret {
        match &self.0 {
            Kind::Fixed(secret) => secret.clone(),
            Kind::File { path, last } => {
                // Without one, what it held before is still here.
                let _ = refresh(path, last);
                last.load().1.clone()
            }
        }
    }

    /// The secret as it is now, for who judges by it. `None`: it is revoked, because its file was removed or emptied.
    pub fn valid(&self) -> Option<Secret> {
        match &self.0 {
            Kind::Fixed(secret) => Some(secret.clone()),
            Kind::File { path, last } => match refresh(path, last) {
                Refreshed::Revoked => None,
                Refreshed::Good | Refreshed::Unreadable => Some(last.load().1.clone()),
            },
        }
    }
}

impl From<Secret> for LiveSecret {
    fn from(secret: Secret) -> Self {
        Self(Kind::Fixed(secret))
    }
}

enum Refreshed {
    Good,
    Revoked,
    Unreadable,
}

fn refresh(path: &Path, last: &ArcSwap<(Option<Stamp>, Secret)>) -> Refreshed {
    let now = match stamp(path) {
        Ok(now) => now,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Refreshed::Revoked,
        Err(_) => return Refreshed::Unreadable,
    };
    if last.load().0 == Some(now) {
        return Refreshed::Good;
    }
    match fs::read_to_string(path) {
        Ok(text) => match Secret::new(&text) {
            Some(secret) => {
                last.store(Arc::new((Some(now), secret)));
                Refreshed::Good
            }
            None => Refreshed::Revoked,
        },
        Err(_) => Refreshed::Unreadable,
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let of = |file: Metadata| Stamp {
        device: file.dev(),
        inode: file.ino(),
        size: file.size(),
        changed: (file.ctime(), file.ctime_nsec()),
    };
    fs::metadata(path).map(of)
}

/// Reads a secret when it is first needed, and from then on as it is.
pub fn read_later(
    source: &SecretSource,
    base: &Path,
    environment: &Environment,
) -> impl Fn() -> Result<Secret, SecretError> + Send + Sync + use<> {
    let (source, base, environment) = (source.clone(), base.to_owned(), environment.clone());
    let live = OnceLock::new();
    move || match live.get() {
        Some(live) => Ok(LiveSecret::get(live)),
        None => LiveSecret::new(&source, &base, &environment).map(|read| live.get_or_init(|| read).get()),
    }
}

/// Every secret of these settings that stands in a file. A relative file is looked for in `base`.
pub fn secret_files(settings: &Settings, base: &Path) -> Vec<SecretFile> {
    let mut files = Vec::new();
    let mut add = |key: String, path: &Path| files.push(SecretFile { key, path: base.join(path) });
    let mut source = |key: String, source: Option<&SecretSource>| {
        if let Some(SecretSource::File(path)) = source {
            add(key, path);
        }
    };
    source("admin.token".to_owned(), settings.admin.token.as_ref());
    source("admin.viewer_token".to_owned(), settings.admin.viewer_token.as_ref());
    source(REDIS.to_owned(), settings.redis.as_ref().and_then(|redis| redis.password.as_ref()));
    let postgres = settings.recording.postgres.as_ref();
    source(POSTGRES.to_owned(), postgres.and_then(|postgres| postgres.password.as_ref()));
    for (at, upstream) in settings.upstreams.iter().enumerate() {
        if let Credentials::Secret(secret) = &upstream.credentials {
            source(format!("upstreams[{at}].credentials"), Some(secret));
        }
    }
    for (at, remote) in settings.remotes.iter().enumerate() {
        source(format!("remotes[{at}].secret"), remote.secret.as_ref());
    }
    for (at, key) in settings.clients.keys.iter().enumerate() {
        if let Some(path) = &key.file {
            add(format!("clients.keys[{at}]"), path);
        }
    }
    files
}

/// The keys of passwords for connections that live for long.
pub const REDIS: &str = "redis.password";
/// See [`REDIS`].
pub const POSTGRES: &str = "recording.postgres.password";

/// Watches the files of secrets from now on, for as long as it is polled, and tells of each that changed: that it was replaced,
/// or why it cannot be read.
pub fn watch_secrets(
    files: Vec<SecretFile>,
    tell: impl Fn(&SecretFile, Result<&Secret, &SecretError>),
) -> impl Future<Output = ()> {
    // By their digests: nothing has to be kept here.
    let known = |read: &Result<Secret, SecretError>| read.as_ref().map(Secret::digest).map_err(Clone::clone);
    let mut seen: Vec<_> = files.iter().map(|file| known(&from_file(&file.path))).collect();
    async move {
        let mut folders = FolderWatch::of(files.iter().map(|file| file.path.as_path()));
        loop {
            folders.changed().await;
            for (file, seen) in files.iter().zip(&mut seen) {
                let now = from_file(&file.path);
                if known(&now) != *seen {
                    *seen = known(&now);
                    tell(file, now.as_ref());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, sync::Mutex, time::Duration};

    use super::*;

    /// As kubelet does it: every file at once, by a link.
    fn swap(folder: &Path, version: &str, text: Option<&str>) {
        fs::create_dir(folder.join(version)).expect("a folder");
        if let Some(text) = text {
            fs::write(folder.join(version).join("key"), text).expect("written");
        }
        symlink(version, folder.join("..data_tmp")).expect("a link");
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("renamed");
    }

    fn mounted() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        swap(folder.path(), "..1", Some("one\n"));
        symlink("..data/key", folder.path().join("key")).expect("a link");
        folder
    }

    #[test]
    fn a_secret_follows_its_file_and_is_revoked_with_it() {
        let folder = mounted();
        let source = SecretSource::File("key".into());
        let live = LiveSecret::new(&source, folder.path(), &Environment::default()).expect("a secret");
        let later = read_later(&source, folder.path(), &Environment::default());
        let now = || (live.get().expose().to_owned(), live.valid().map(|secret| secret.expose().to_owned()));
        let both = |text: &str| (text.to_owned(), Some(text.to_owned()));
        assert_eq!(now(), both("one"));
        swap(folder.path(), "..2", Some("two"));
        assert_eq!(now(), both("two"));
        // In place, at once and of the same length.
        fs::write(folder.path().join("key"), "TWO").expect("written");
        assert_eq!((now(), later().expect("a secret").expose()), (both("TWO"), "TWO"));
        swap(folder.path(), "..3", None);
        assert_eq!((now(), later().expect("a secret").expose()), (("TWO".to_owned(), None), "TWO"));
        swap(folder.path(), "..4", Some(" \n"));
        assert_eq!(now(), ("TWO".to_owned(), None));
        swap(folder.path(), "..5", Some("three"));
        assert_eq!(now(), both("three"));
        let variable = SecretSource::Env("KEY".into());
        let environment = [("KEY", "v")].into_iter().collect();
        let fixed = LiveSecret::new(&variable, folder.path(), &environment).expect("a secret");
        assert_eq!((fixed.get().expose(), fixed.valid().is_some()), ("v", true));
    }

    #[tokio::test]
    async fn replaced_and_unreadable_secrets_are_told_once_each() {
        let folder = mounted();
        let file = SecretFile { key: "a".to_owned(), path: folder.path().join("key") };
        let (told, mut heard) = tokio::sync::mpsc::channel(8);
        let told = Mutex::new(told);
        let watching = watch_secrets(vec![file], |file, read| {
            let said = (file.key.clone(), read.map(|secret| secret.expose().to_owned()).map_err(ToString::to_string));
            told.lock().expect("no holder panics").try_send(said).expect("there is room");
        });
        let changing = async {
            let mut next = async || tokio::time::timeout(Duration::from_secs(20), heard.recv()).await.expect("in time");
            swap(folder.path(), "..2", Some("two"));
            assert_eq!(next().await, Some(("a".to_owned(), Ok("two".to_owned()))));
            swap(folder.path(), "..3", None);
            let (_, read) = next().await.expect("something");
            assert!(read.is_err_and(|error| error.contains("cannot be read")));
            // The same secret again is no news; that it can be read is.
            swap(folder.path(), "..4", Some("two"));
            assert_eq!(next().await, Some(("a".to_owned(), Ok("two".to_owned()))));
            assert!(heard.try_recv().is_err());
        };
        tokio::select! {
            () = watching => panic!("it ended"),
            () = changing => {}
        }
    }
}
