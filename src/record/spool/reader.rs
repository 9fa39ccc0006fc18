//! Reads the log behind its end.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use super::{FRAME, LONGEST, Line, Position, Shared, segment, segments, zip};

/// So much is read at once, unless one block is longer, in bytes.
const CHUNK: u64 = 512 << 10;
/// When lines had this size before they were compressed, they are enough for once, in bytes.
pub(super) const ENOUGH: usize = 2 << 20;

/// Reads the log.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    shared: Arc<Shared>,
}

/// Lines, and where those behind them begin.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// The lines.
    pub lines: Vec<Line>,
    /// Where to read on.
    pub next: Position,
    /// Blocks of lines that could not be read.
    pub lost: usize,
    /// Whether more may stand there already.
    pub more: bool,
}

impl Reader {
    pub(super) fn new(folder: PathBuf, shared: Arc<Shared>) -> Self {
        Self { folder, shared }
    }

    /// What the log's two ends share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The folder.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// The next lines from `at` on. `None`: there are no more yet.
    pub fn read(&self, mut at: Position) -> io::Result<Option<Batch>> {
        let mut lost = 0;
        loop {
            // Before the segment is read: what is written to it later will be read later.
            let active = self.shared.active.load(Ordering::Acquire);
            let mut batch = self.read_segment(at)?;
            batch.lost += lost;
            if !batch.lines.is_empty() || batch.lost > 0 {
                return Ok(Some(batch));
            }
            if at.segment >= active {
                return Ok(None);
            }
            // What stands at the end of a segment that is not written any more was cut off.
            let length = fs::metadata(segment(&self.folder, at.segment)).map_or(0, |file| file.len());
            lost = usize::from(length > batch.next.offset);
            at = Position { segment: self.following(at.segment, active)?, offset: 0 };
            if lost > 0 {
                return Ok(Some(Batch { lines: Vec::new(), next: at, lost, more: true }));
            }
        }
    }

    /// Forgets what stands between `from` and `at`: it was read for good.
    pub fn forget(&self, from: Position, at: Position) -> io::Result<()> {
        let (mut read, mut removed) = (0, Ok(()));
        for (number, length) in segments(&self.folder)? {
            if number < from.segment || number > at.segment {
                continue;
            }
            let begin = if number == from.segment { from.offset } else { 0 };
            let end = if number == at.segment { at.offset } else { length };
            read += end.saturating_sub(begin);
            if number < at.segment {
                removed = removed.and(fs::remove_file(segment(&self.folder, number)));
            }
        }
        self.shared.read.fetch_add(read, Ordering::Relaxed);
        removed
    }

    fn following(&self, number: u64, active: u64) -> io::Result<u64> {
        let there = segments(&self.folder)?.into_iter().map(|(number, _)| number);
        Ok(there.filter(|other| *other > number).min().unwrap_or(active))
    }

    fn read_segment(&self, at: Position) -> io::Result<Batch> {
        let mut batch = Batch { lines: Vec::new(), next: at, lost: 0, more: false };
        let mut file = match File::open(segment(&self.folder, at.segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(batch),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(at.offset))?;
        let mut bytes = Vec::new();
        file.by_ref().take(CHUNK).read_to_end(&mut bytes)?;
        if let Some(length) = length(&bytes)
            && bytes.len() < FRAME + length
        {
            let missing = (FRAME + length - bytes.len()) as u64;
            file.take(missing).read_to_end(&mut bytes)?;
        }
        let (mut rest, mut size) = (bytes.as_slice(), 0);
        while size < ENOUGH
            && let Some((content, behind)) = split(rest)
        {
            match lines(content, &mut batch.lines) {
                Some(length) => size += length,
                None => batch.lost += 1,
            }
            batch.next.offset += (rest.len() - behind.len()) as u64;
            rest = behind;
        }
        batch.more = size >= ENOUGH || bytes.len() as u64 >= CHUNK;
        Ok(batch)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn length(bytes: &[u8]) -> Option<usize> {
    word(bytes, 0).and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= LONGEST)
}

/// The first block's content, and what stands behind it. `None`: it is not all here, or is none.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = length(bytes)?;
    let (content, rest) = bytes.get(FRAME..)?.split_at_checked(length)?;
    (crc32fast::hash(content) == word(bytes, 4)?).then_some((content, rest))
}

/// Adds the lines of a block to `out`, and says how long they were: all of them, or none.
fn lines(content: &[u8], out: &mut Vec<Line>) -> Option<usize> {
    let json = zip::decompress(content).ok()?;
    let lines: Vec<Line> = serde_json::Deserializer::from_slice(&json).into_iter().collect::<Result<_, _>>().ok()?;
    out.extend(lines);
    Some(json.len())
}
