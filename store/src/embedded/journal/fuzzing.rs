//! What fuzzing holds the journal to.

use super::{HEAD, Write, Writes, first, record};
use std::cell::RefCell;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const GENERATION: u64 = 7;

/// Writes of a batch: what is read of them is the same when it is written again. A
/// record of them is found where it is whole, and where a byte of it is cut off or
/// changed there is none.
pub fn journals(bytes: &[u8]) {
    let (again, mut rest) = (Writes::default(), bytes);
    while let Some((write, more)) = first(rest) {
        again.add(write);
        rest = more;
    }
    let read = bytes.len() - rest.len();
    assert_eq!(again.0.borrow()[..], bytes[..read]);
    let mut count = 0;
    let writes = Writes(RefCell::new(bytes.to_vec()));
    let whole = writes.each(|Write { key, value, .. }| {
        count += key.len() + value.map_or(0, <[u8]>::len);
        Ok(())
    });
    assert_eq!(whole.is_ok(), rest.is_empty());
    assert!(count <= bytes.len());

    assert!(
        record(bytes, GENERATION)
            .is_none_or(|(writes, more)| HEAD + writes.len() + more.len() == bytes.len())
    );
    if bytes.is_empty() {
        return;
    }
    let mut file = (bytes.len() as u32).to_le_bytes().to_vec();
    file.extend(xxh3_64_with_seed(bytes, GENERATION).to_le_bytes());
    file.extend(bytes);
    file.extend([0; 16]);
    assert_eq!(record(&file, GENERATION), Some((bytes, &[0; 16][..])));
    assert_eq!(record(&file, GENERATION + 1), None);
    let end = HEAD + bytes.len();
    assert_eq!(record(&file[..end - 1], GENERATION), None);
    let spoiled = bytes.iter().fold(0, |sum: usize, byte| sum.wrapping_mul(31) + usize::from(*byte)) % end;
    file[spoiled] ^= 1;
    assert!(record(&file, GENERATION).is_none(), "byte {spoiled}");
}
