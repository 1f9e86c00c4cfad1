//! Certificates and keys in PEM files that flags name, and what is made of them.
//! The files are read again each second; when what they hold has changed and can be
//! used, it takes the place of what was made before. So a renewed certificate needs
//! no restart.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::lock::{LEAF, SharedLock};

/// The time between two readings of the files. Contents are compared, not dates:
/// mounted secrets are replaced through a symbolic link, and copies may keep an old
/// date.
const LOOK: Duration = Duration::from_secs(1);

/// A file that a flag names.
#[derive(Debug, Clone)]
pub struct PemFile {
    /// The flag, as errors name it.
    pub flag: &'static str,
    /// Where the file is.
    pub path: PathBuf,
}

/// What a file held.
pub struct Pem {
    file: PemFile,
    bytes: Vec<u8>,
}

impl PemFile {
    /// The file at this path, which the flag names.
    pub fn new(flag: &'static str, path: &Path) -> Self {
        Self { flag, path: path.to_owned() }
    }

    /// Blocks. Fails with the flag of a file that cannot be read.
    fn read(&self) -> Result<Pem, String> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Pem { file: self.clone(), bytes }),
            Err(error) => Err(format!("{}: cannot read {}: {error}", self.flag, self.path.display())),
        }
    }
}

impl Pem {
    /// Its certificates. Fails with the flag where there is none.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let read = CertificateDer::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>();
        match read {
            Ok(certificates) if certificates.is_empty() => Err(self.wrong("it has no certificate in PEM")),
            read => read.map_err(|error| self.wrong(error)),
        }
    }

    /// Its private key. Fails with the flag where there is none.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, String> {
        // The parser's own words may quote the file.
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|_| self.wrong("it has no private key in PEM"))
    }

    /// The error of a file that cannot be used.
    pub fn wrong(&self, reason: impl Display) -> String {
        format!("{}: cannot use {}: {reason}", self.file.flag, self.file.path.display())
    }
}

/// A warning for a file with a secret that every user of the machine may read.
pub fn readable_by_all(file: &Path) -> Option<String> {
    // A file that is gone is found by whoever reads it.
    let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    let file = file.display();
    (mode & 0o007 != 0).then(|| format!("every user of this machine may read {file}: chmod o= it"))
}

/// What is made of so many files. What was taken from it before they changed stays as
/// it was: open connections keep the old certificate.
pub struct Followed<T, const N: usize> {
    files: [PemFile; N],
    make: Make<T, N>,
    /// Of what the files held when they were first read.
    first: u64,
    /// Replaced as a whole.
    now: SharedLock<LEAF, T>,
}

type Make<T, const N: usize> = Box<dyn Fn(&[Pem; N]) -> Result<T, String> + Send + Sync>;

impl<T, const N: usize> std::fmt::Debug for Followed<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followed").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<T, const N: usize> Followed<T, N> {
    /// Reads the files. Fails as `make` does, and with the flag of a file that cannot
    /// be read.
    pub fn open(
        files: [PemFile; N],
        make: impl Fn(&[Pem; N]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let held = read(&files)?;
        Ok(Self {
            now: SharedLock::new(make(&held)?),
            first: fingerprint(&held),
            files,
            make: Box::new(make),
        })
    }

    /// The files, in the order in which they were given.
    pub fn files(&self) -> &[PemFile; N] {
        &self.files
    }

    /// Takes something from what is made of them now.
    pub fn now<R>(&self, take: impl FnOnce(&T) -> R) -> R {
        take(&self.now.read())
    }

    /// Follows the files while it is polled.
    pub async fn follow(&self) {
        let (mut seen, flag) = (Ok(self.first), self.files[0].flag);
        loop {
            tokio::time::sleep(LOOK).await;
            let files = self.files.clone();
            let Ok(held) = tokio::task::spawn_blocking(move || read(&files)).await else { continue };
            let now = held.as_ref().map(fingerprint).map_err(Clone::clone);
            if now == seen {
                continue;
            }
            seen = now;
            match held.and_then(|held| (self.make)(&held)) {
                Ok(made) => {
                    *self.now.write() = made;
                    tracing::info!(flag, "new connections get the new certificate");
                }
                // This also happens when only some of the files are replaced yet: the
                // next reading finds the others.
                Err(reason) => tracing::error!(flag, reason, "the old certificate stays"),
            }
        }
    }
}

fn read<const N: usize>(files: &[PemFile; N]) -> Result<[Pem; N], String> {
    let held = files.iter().map(PemFile::read).collect::<Result<Vec<_>, _>>()?;
    Ok(held.try_into().unwrap_or_else(|_| unreachable!("as many as there are files")))
}

/// Differs where the contents differ.
fn fingerprint<const N: usize>(held: &[Pem; N]) -> u64 {
    let mut hasher = DefaultHasher::new();
    held.iter().for_each(|pem| pem.bytes.hash(&mut hasher));
    hasher.finish()
}
