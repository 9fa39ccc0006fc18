//! The write-ahead log on the local disk: segments of lines that are only appended to.
//!
//! Lines that are appended together stand in one block, compressed together, up to 64 KiB of them. A block is its length and its
//! CRC-32, four bytes each with the lowest first, and its content. A segment that a process left is never written again; a
//! block that was cut off at its end by a crash is passed over. [`Spool`] appends, [`Reader`] reads behind it.

mod reader;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

pub use reader::{Batch, Reader};

use super::{Line, zip};

/// How large a segment grows, in bytes.
const SEGMENT: u64 = 16 << 20;
/// Length and checksum of a block, in bytes.
const FRAME: usize = 8;
/// A block of this size is not added to, in bytes before it is compressed.
const BLOCK: usize = 64 << 10;
/// Memory of this size is not kept for the next block, in bytes.
const LARGE: usize = 1 << 20;
/// How long it counts that the disk did not take something. Then it is tried again.
const NEWS: Duration = Duration::from_secs(5);
/// The longest block, in bytes.
const LONGEST: usize = 1 << 30;

/// A place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The number of the segment.
    pub segment: u64,
    /// How far into it, in bytes.
    pub offset: u64,
}

/// The log's end.
pub struct Spool {
    folder: PathBuf,
    file: File,
    at: Position,
    shared: Arc<Shared>,
    /// Held for as long as the process writes here.
    _lock: File,
}

/// What the log's two ends share.
#[derive(Debug)]
pub struct Shared {
    /// Tells this log from any other.
    pub id: String,
    /// The segment that is written.
    active: AtomicU64,
    /// Bytes that were written, with those that stood here at the beginning.
    written: AtomicU64,
    /// Bytes of these that were read for good.
    read: AtomicU64,
    /// When it could not be written.
    failed: Mutex<Option<Instant>>,
    /// More was written.
    news: Notify,
}

impl Spool {
    /// The log in this folder, which is made if it is not there. Begins a new segment.
    pub fn open(folder: &Path) -> io::Result<(Self, Reader)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = private().create(true).truncate(false).open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another luthien writes there"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let id = identity(&folder.join("id"))?;
        let before = segments(folder)?;
        let number = before.last().map_or(1, |(number, _)| number + 1);
        let bytes = before.iter().map(|(_, length)| length).sum();
        let shared = Arc::new(Shared {
            id,
            active: AtomicU64::new(number),
            written: AtomicU64::new(bytes),
            read: AtomicU64::new(0),
            failed: Mutex::default(),
            news: Notify::new(),
        });
        let reader = Reader::new(folder.to_owned(), Arc::clone(&shared));
        let file = private().create_new(true).open(segment(folder, number))?;
        let at = Position { segment: number, offset: 0 };
        Ok((Self { folder: folder.to_owned(), file, at, shared, _lock: lock }, reader))
    }

    /// What the log's two ends share.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Appends lines, all or none.
    pub fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        self.write(&encode(lines)?)
    }

    /// Appends lines that are encoded, all or none.
    pub(super) fn write(&mut self, encoded: &[u8]) -> io::Result<()> {
        if self.at.offset >= SEGMENT {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(encoded) {
            // What is half written must not stand before what comes next.
            if self.file.set_len(self.at.offset).is_err() {
                self.rotate()?;
            }
            return Err(error);
        }
        let length = encoded.len() as u64;
        self.at.offset += length;
        self.shared.written.fetch_add(length, Ordering::Relaxed);
        self.shared.news.notify_one();
        Ok(())
    }

    /// Waits until what was appended would survive a loss of power.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn rotate(&mut self) -> io::Result<()> {
        let number = self.at.segment + 1;
        self.file = private().create_new(true).open(segment(&self.folder, number))?;
        self.at = Position { segment: number, offset: 0 };
        self.shared.active.store(number, Ordering::Release);
        Ok(())
    }
}

impl Shared {
    /// Bytes that stand here and are not in the store.
    pub fn bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed).saturating_sub(self.read.load(Ordering::Relaxed))
    }

    /// Whether the disk did not take the last lines, as far as that is news.
    pub fn is_failing(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| failed.elapsed() < NEWS)
    }

    /// What became of the last lines.
    pub(super) fn tell(&self, is_written: bool) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = (!is_written).then(Instant::now);
    }

    /// Waits for more.
    pub async fn more(&self) {
        self.news.notified().await;
    }
}

/// Lines as they stand in a segment.
pub(super) fn encode(lines: &[Line]) -> io::Result<Vec<u8>> {
    let (mut out, mut block) = (Vec::new(), Vec::new());
    for line in lines {
        serde_json::to_writer(&mut block, line)?;
        if block.len() >= BLOCK {
            finish(&mut block, &mut out)?;
        }
    }
    if !block.is_empty() {
        finish(&mut block, &mut out)?;
    }
    Ok(out)
}

/// Adds a block to `out`, and empties it.
fn finish(block: &mut Vec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
    let content = zip::compress(block, 1)?;
    let length = u32::try_from(content.len()).ok().filter(|_| content.len() <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("a record is too long"))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&content).to_le_bytes());
    out.extend_from_slice(&content);
    block.clear();
    if block.capacity() > LARGE {
        *block = Vec::new();
    }
    Ok(())
}

/// Files that only we may read, appended to.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).mode(0o600);
    options
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.log"))
}

/// The segments that are there, with their lengths, in order.
fn segments(folder: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What tells this log from any other; made once.
fn identity(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(id) if Uuid::parse_str(id.trim()).is_ok() => return Ok(id.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = Uuid::new_v4().simple().to_string();
    // All of it or none, also when the process is killed now.
    let new = path.with_extension("new");
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?.write_all(id.as_bytes())?;
    fs::rename(new, path)?;
    Ok(id)
}

#[cfg(test)]
mod tests;
