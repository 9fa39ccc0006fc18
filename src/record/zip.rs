//! Compression with contexts that are used again: making one costs more than most pieces take to be compressed.

use std::{cell::RefCell, io};

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::get_frame_content_size,
};

/// Larger than any entry; what says that it is larger is no entry of ours.
const LARGEST: u64 = 1 << 30;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The content, compressed with so much effort (zstd's level).
pub fn compress(content: &[u8], effort: i32) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(effort)?),
        };
        compressor.set_compression_level(effort)?;
        compressor.compress(content)
    })
}

/// What was compressed. It says how large it was; what does not, or was too large, is damaged.
pub fn decompress(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let size = get_frame_content_size(compressed).ok().flatten().filter(|size| *size <= LARGEST);
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no compressed content of ours"))?;
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress(compressed, size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_whatever_was_done_before() {
        for (content, effort) in [(&b""[..], 1), (b"a", 3), (&[7; 10_000], 1), (b"{\"a\":1}", 9)] {
            let compressed = compress(content, effort).unwrap();
            assert_eq!(decompress(&compressed).unwrap(), content);
            // Damage does not harm what comes next.
            assert!(decompress(compressed.get(..compressed.len() - 1).unwrap()).is_err());
        }
    }

    #[test]
    fn what_does_not_say_its_size_or_says_too_much_is_damaged() {
        assert!(decompress(b"").is_err() && decompress(b"no zstd at all").is_err());
        // A frame whose header says no size.
        let silent = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 1, 0, 0];
        assert_eq!(get_frame_content_size(&silent).unwrap(), None);
        assert!(decompress(&silent).is_err());
        // A frame of one segment whose header says 2 GiB.
        let bomb = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &(2_u32 << 30).to_le_bytes(), &[1, 0, 0]].concat();
        assert_eq!(get_frame_content_size(&bomb).unwrap(), Some(2 << 30));
        assert!(decompress(&bomb).is_err());
    }
}
