//! Mutations of inputs: always the same ones for the same number.

use crate::core::random::lot;

/// What is worth putting in anywhere.
const WORDS: [&[u8]; 40] = [
    b"\n\n",
    b"\r\n\r\n",
    b"\r",
    b"data: ",
    b"data",
    b"event: ",
    b"event: error\n",
    b"data: [DONE]\n\n",
    b": ping\n\n",
    b"\xef\xbb\xbf",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\\"",
    b"\\ud83d",
    b"\\ude00",
    b"\\u0041",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"4294967295",
    b"\"type\":\"text\"",
    b"\"index\":1,",
    b"\"text\":\"x\",",
    b"\"stop_reason\":\"end_turn\"",
    b"\"finish_reason\":\"stop\",",
    b"\xff",
    b"\0",
    "é😀".as_bytes(),
    b"\"error\":{\"message\":\"x\"},",
];

/// The longest input that is made, in bytes.
const LONGEST: usize = 16 << 10;

/// One of the inputs, changed in up to four places.
pub fn mutated(inputs: &[&[u8]], number: usize) -> Vec<u8> {
    let mut draw = Draw { number, drawn: 0 };
    let mut bytes = inputs[draw.below(inputs.len())].to_vec();
    bytes.truncate(LONGEST);
    for _ in 0..=draw.below(4) {
        let (from, to) = draw.range(bytes.len());
        match draw.below(9) {
            0 if !bytes.is_empty() => {
                let at = draw.below(bytes.len());
                bytes[at] ^= 1 << draw.below(8);
            }
            1 => bytes.truncate(to),
            2 => drop(bytes.drain(from..to)),
            3 => {
                let again = bytes[from..to].to_vec();
                bytes.splice(to..to, again);
            }
            4 => {
                let other = inputs[draw.below(inputs.len())];
                let (start, end) = draw.range(other.len());
                bytes.splice(from..to, other[start..end].iter().copied());
            }
            // A whole line moves: what comes twice, too early or not at all.
            5 | 6 => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
                let (one, other) = (draw.below(lines.len()), draw.below(lines.len()));
                match draw.below(3) {
                    0 if !lines.is_empty() => lines.swap(one, other),
                    1 if !lines.is_empty() => lines.insert(other, lines[one]),
                    _ if !lines.is_empty() => drop(lines.remove(one)),
                    _ => {}
                }
                bytes = lines.concat();
            }
            7 if !bytes.is_empty() => {
                // What chooses stands at the beginning.
                let at = draw.below(bytes.len().min(4));
                bytes[at] = u8::try_from(draw.below(256)).unwrap_or_default();
            }
            _ => drop(bytes.splice(from..from, WORDS[draw.below(WORDS.len())].iter().copied())),
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

/// Numbers by lot.
struct Draw {
    number: usize,
    drawn: usize,
}

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.drawn += 1;
        usize::try_from(lot((self.number, self.drawn))).unwrap_or_default() % bound.max(1)
    }

    /// A range, short ones more often.
    fn range(&mut self, len: usize) -> (usize, usize) {
        let start = self.below(len + 1);
        let most = [4, 64, 1024][self.below(3)].min(len - start);
        (start, start + self.below(most + 1))
    }
}
