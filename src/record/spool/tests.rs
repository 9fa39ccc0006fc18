use super::{super::Entry, reader::ENOUGH, *};

fn line(number: u32) -> Line {
    Line::Entry(Box::new(Entry { call: "c".to_owned(), seq: number, ..Entry::default() }))
}

/// Everything from `at` on, and where it ends.
fn rest(reader: &Reader, mut at: Position) -> (Vec<Line>, usize, Position) {
    let (mut lines, mut lost) = (Vec::new(), 0);
    while let Some(batch) = reader.read(at).unwrap() {
        lines.extend(batch.lines);
        lost += batch.lost;
        at = batch.next;
    }
    (lines, lost, at)
}

fn last_segment(folder: &Path) -> PathBuf {
    segment(folder, segments(folder).unwrap().last().unwrap().0)
}

#[test]
fn what_is_appended_is_read_in_order_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, reader) = Spool::open(folder.path()).unwrap();
    assert!(Spool::open(folder.path()).is_err(), "two must not write");
    let id = reader.shared().id.clone();
    spool.append(&[line(0), line(1)]).unwrap();
    let (lines, lost, at) = rest(&reader, Position::default());
    assert_eq!((lines, lost), (vec![line(0), line(1)], 0));
    spool.append(&[line(2)]).unwrap();
    drop(spool);
    let (mut spool, reader) = Spool::open(folder.path()).unwrap();
    assert_eq!(reader.shared().id, id);
    spool.append(&[line(3)]).unwrap();
    let (lines, lost, end) = rest(&reader, at);
    assert_eq!((lines, lost), (vec![line(2), line(3)], 0));
    reader.forget(Position::default(), end).unwrap();
    assert_eq!(segments(folder.path()).unwrap().len(), 1);
    assert_eq!(reader.shared().bytes(), 0);
    assert_eq!(rest(&reader, end).0, []);
}

#[test]
fn a_line_that_was_cut_off_at_any_place_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path()).unwrap();
    spool.append(&[line(0)]).unwrap();
    let path = last_segment(folder.path());
    let whole = fs::read(&path).unwrap().len();
    spool.append(&[line(1)]).unwrap();
    drop(spool);
    let bytes = fs::read(&path).unwrap();
    for end in whole..=bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let (mut spool, reader) = Spool::open(folder.path()).unwrap();
        spool.append(&[line(2)]).unwrap();
        let (lines, lost, _) = rest(&reader, Position { segment: 1, offset: 0 });
        let (expected, cut): (Vec<Line>, usize) = match end {
            end if end == whole => (vec![line(0), line(2)], 0),
            end if end == bytes.len() => (vec![line(0), line(1), line(2)], 0),
            _ => (vec![line(0), line(2)], 1),
        };
        assert_eq!((&lines, lost), (&expected, cut), "cut at {end}");
        fs::remove_file(last_segment(folder.path())).unwrap();
    }
}

#[test]
fn segments_follow_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, reader) = Spool::open(folder.path()).unwrap();
    for number in 0..6 {
        spool.append(&[line(number)]).unwrap();
        spool.rotate().unwrap();
    }
    let (lines, lost, at) = rest(&reader, Position::default());
    assert_eq!((lines, lost), ((0..6).map(line).collect(), 0));
    assert_eq!(at.segment, 6);
}

#[test]
fn lines_that_are_appended_together_are_read_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, reader) = Spool::open(folder.path()).unwrap();
    let many: Vec<Line> = (0..2000).map(line).collect();
    spool.append(&many).unwrap();
    assert_eq!(rest(&reader, Position::default()).0, many);
    let path = last_segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    drop(spool);
    let (_spool, reader) = Spool::open(folder.path()).unwrap();
    let (lines, lost, _) = rest(&reader, Position { segment: 1, offset: 0 });
    assert!(lost == 1 && !lines.is_empty() && lines.len() < many.len(), "{} lines, {lost} blocks lost", lines.len());
    assert_eq!(lines, many[..lines.len()]);
}

#[test]
fn what_is_read_at_once_is_bounded_however_well_it_is_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, reader) = Spool::open(folder.path()).unwrap();
    let large = |number: u32| {
        let request = Some(serde_json::Value::String("a".repeat(ENOUGH / 2)).into());
        Line::Entry(Box::new(Entry { call: "c".to_owned(), seq: number, request, ..Entry::default() }))
    };
    let all: Vec<Line> = (0..8).map(large).collect();
    spool.append(&all).unwrap();
    let first = reader.read(Position::default()).unwrap().unwrap();
    assert_eq!((first.lines.len(), first.more), (2, true));
    assert_eq!(rest(&reader, Position::default()).0, all);
    let read = reader.read(first.next).unwrap().unwrap();
    assert!(read.next > first.next);
}

/// Each line had a frame of its own, and its body stood there as a value.
#[test]
fn what_the_version_before_wrote_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, reader) = Spool::open(folder.path()).unwrap();
    let before = r#"{"Entry":{"call":"c","seq":3,"head":null,"request":{"a":[1]},"sent":null,"answer":null,"closing":null,"events":[{"type":"x"}]}}"#;
    let mut encoded = Vec::new();
    finish(&mut before.as_bytes().to_vec(), &mut encoded).unwrap();
    spool.write(&encoded).unwrap();
    let (lines, lost, _) = rest(&reader, Position::default());
    let [Line::Entry(entry)] = &lines[..] else { panic!("{lines:?}, {lost} lost") };
    assert_eq!((entry.seq, entry.request.clone().unwrap().value()), (3, serde_json::json!({ "a": [1] })));
    assert_eq!(entry.events.value(), serde_json::json!([{ "type": "x" }]));
}
