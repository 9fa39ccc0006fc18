//! Records on the local disk, after somebody damaged them.

use std::{fs, path::Path};

use luthien::record::{
    Entry, Line,
    spool::{Position, Reader, Spool},
};

use super::input::Input;

/// How many lines stand there before the damage.
const LINES: u32 = 6;

/// A byte that chooses the form. Then where bytes are changed and to what, three bytes each; or the bytes of a segment.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut spool, reader) = Spool::open(folder.path()).expect("a spool");
    let path = segment(folder.path());
    if form.is_multiple_of(2) {
        fs::write(&path, input.rest()).expect("a disk with room");
        let (lines, _) = rest(&reader);
        assert!(lines.len() <= input.rest().len());
        return;
    }
    let mut ends = Vec::new();
    for number in 0..LINES {
        spool.append(&[line(number)]).expect("a disk with room");
        ends.push(fs::metadata(&path).expect("a segment").len());
    }
    drop(spool);
    let mut bytes = fs::read(&path).expect("a segment");
    let mut first = bytes.len();
    for change in input.rest().chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        if bytes[at] != change[2] {
            first = first.min(at);
            bytes[at] = change[2];
        }
    }
    // What stands behind may be cut off as well.
    if form & 2 != 0 {
        bytes.truncate(first);
    }
    fs::write(&path, &bytes).expect("a disk with room");
    // The next process goes on.
    let (mut spool, reader) = Spool::open(folder.path()).expect("a spool");
    spool.append(&[line(LINES)]).expect("a disk with room");
    let (lines, lost) = rest(&reader);
    let whole = ends.iter().filter(|end| **end <= first as u64).count();
    assert!(lines.len() > whole, "lines before the damage are lost: {} of {whole}", lines.len());
    assert_eq!(lines[..whole], (0..LINES).map(line).collect::<Vec<_>>()[..whole]);
    assert_eq!(lines.last(), Some(&line(LINES)), "what was written later is lost");
    assert!(
        lines.len() == LINES as usize + 1
            || lost > 0
            || bytes.len() as u64 == ends.get(whole.wrapping_sub(1)).copied().unwrap_or(0),
        "a gap that nobody sees"
    );
}

fn line(number: u32) -> Line {
    Line::Entry(Box::new(Entry { call: format!("call-{number}"), seq: number, ..Entry::default() }))
}

/// Everything that can be read, and how much was lost. Reading comes to its end.
fn rest(reader: &Reader) -> (Vec<Line>, usize) {
    let (mut at, mut lines, mut lost) = (Position { segment: 1, offset: 0 }, Vec::new(), 0);
    while let Some(batch) = reader.read(at).expect("the disk can be read") {
        assert!(batch.next > at, "reading does not go on");
        at = batch.next;
        lines.extend(batch.lines);
        lost += batch.lost;
    }
    (lines, lost)
}

fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join(format!("{:020}.log", 1))
}
