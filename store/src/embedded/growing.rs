//! The tables' file, as the database has it. The database makes it larger in
//! the middle of a transaction, long before it writes there. Here that is only
//! noted, and done with the next write: on a full disk a transaction in memory
//! still finds its pages, so what the journal has can be read. What then cannot
//! be written fails when the transaction is committed to the file.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// The file. Its calls come from the writer, reads also from readers.
#[derive(Debug)]
pub(super) struct GrowingFile {
    file: FileBackend,
    /// Its bytes, as the database knows them.
    length: AtomicU64,
    /// Its bytes on disk; the others are zero.
    there: AtomicU64,
    /// Whether anything was written since the last sync.
    written: AtomicBool,
}

impl GrowingFile {
    pub(super) fn new(file: File) -> Result<Self, DatabaseError> {
        let file = FileBackend::new(file)?;
        let length = file.len().map_err(redb::StorageError::Io)?;
        let (there, written) = (AtomicU64::new(length), AtomicBool::new(false));
        Ok(Self { file, length: AtomicU64::new(length), there, written })
    }
}

impl StorageBackend for GrowingFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length.load(Ordering::SeqCst))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let beyond =
            |end: u64| io::Error::new(io::ErrorKind::UnexpectedEof, format!("{end} is no place here"));
        let end = offset + out.len() as u64;
        if end > self.length.load(Ordering::SeqCst) {
            return Err(beyond(end));
        }
        let there = self.there.load(Ordering::SeqCst).saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        let (first, zeros) = out.split_at_mut(there);
        zeros.fill(0);
        if first.is_empty() { Ok(()) } else { self.file.read(offset, first) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if length < self.there.load(Ordering::SeqCst) {
            self.file.set_len(length)?;
            self.there.store(length, Ordering::SeqCst);
            self.written.store(true, Ordering::SeqCst);
        }
        self.length.store(length, Ordering::SeqCst);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let length = self.length.load(Ordering::SeqCst);
        if length > self.there.load(Ordering::SeqCst) {
            // On disk before a header that counts on it.
            self.file.set_len(length)?;
            self.file.sync_data()?;
            self.there.store(length, Ordering::SeqCst);
        }
        self.written.store(true, Ordering::SeqCst);
        self.file.write(offset, data)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.written.swap(false, Ordering::SeqCst) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_a_write_and_not_before_and_what_is_new_is_zero() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let growing = GrowingFile::new(file.reopen().unwrap()).unwrap();
        let on_disk = || std::fs::metadata(file.path()).unwrap().len();
        growing.set_len(100).unwrap();
        growing.sync_data().unwrap();
        assert_eq!((growing.len().unwrap(), on_disk()), (100, 0));
        let mut bytes = [1; 4];
        growing.read(96, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 4]);
        assert!(growing.read(97, &mut bytes).is_err());

        growing.write(10, b"abcd").unwrap();
        assert_eq!(on_disk(), 100);
        growing.set_len(200).unwrap();
        let mut across = [1; 192];
        growing.read(8, &mut across).unwrap();
        assert_eq!((&across[..7], across[6..].iter().all(|byte| *byte == 0)), (&b"\0\0abcd\0"[..], true));
        growing.set_len(12).unwrap();
        assert_eq!((growing.len().unwrap(), on_disk()), (12, 12));
        growing.set_len(20).unwrap();
        growing.read(10, &mut bytes).unwrap();
        assert_eq!(bytes, *b"ab\0\0", "what was cut off does not come back");
    }
}
