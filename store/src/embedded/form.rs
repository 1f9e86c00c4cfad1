//! The form of a file: what it says when it is opened, and which ones this release
//! reads (ADR 0026).

use proto::form::{FORM, Form, UNSAID};
use redb::{ReadableTable, Table};

use crate::{Error, Result};

/// The major of the form, in the table of what is said of the whole file.
const MAJOR: &str = "format";
/// The highest minor that ever wrote: none where only releases did that said none.
const MINOR: &str = "minor";

/// Fails with `Config` for a file that this release does not read. Gives its form;
/// nothing for one that is new.
pub(super) fn readable(meta: &impl ReadableTable<&'static str, &'static str>) -> Result<Option<Form>> {
    let said = |name| Ok::<_, Error>(meta.get(name)?.map(|row| row.value().to_owned()));
    let Some(major) = said(MAJOR)? else { return Ok(None) };
    let minor = said(MINOR)?.unwrap_or_else(|| UNSAID.minor.to_string());
    let stored = format!("{major}.{minor}");
    match stored.parse() {
        Ok(form) if FORM.reads(form) => Ok(Some(form)),
        _ => Err(Error::Config(format!(
            "the file has form {stored}, and this release, of form {FORM}, does not read it: start the release that wrote it, or use another folder"
        ))),
    }
}

/// The same before this release writes into it, which the file says from then on.
pub(super) fn writable(meta: &mut Table<'_, &'static str, &'static str>) -> Result<()> {
    let minor = readable(meta)?.map_or(FORM.minor, |form| form.minor.max(FORM.minor));
    meta.insert(MAJOR, FORM.major.to_string().as_str())?;
    meta.insert(MINOR, minor.to_string().as_str())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableDatabase as _};

    use super::super::open_file;
    use super::super::tables::META;
    use super::*;

    /// A file that some release has written; opened again.
    fn opened(major: &str, minor: Option<&str>) -> Result<Option<String>> {
        let folder = tempfile::tempdir().unwrap();
        drop(open_file(folder.path()).unwrap());
        let database = Database::open(folder.path().join(super::super::FILE)).unwrap();
        let txn = database.begin_write().unwrap();
        {
            let mut meta = txn.open_table(META).unwrap();
            meta.insert(MAJOR, major).unwrap();
            match minor {
                Some(minor) => meta.insert(MINOR, minor).map(drop).unwrap(),
                None => meta.remove(MINOR).map(drop).unwrap(),
            }
        }
        txn.commit().unwrap();
        drop(database);
        let (database, _) = open_file(folder.path())?;
        let meta = database.begin_read().unwrap().open_table(META).unwrap();
        Ok(meta.get(MINOR).unwrap().map(|row| row.value().to_owned()))
    }

    #[test]
    fn a_file_of_this_major_opens_up_to_the_next_minor_and_keeps_the_highest() {
        let (major, own) = (FORM.major.to_string(), FORM.minor.to_string());
        let next = (FORM.minor + 1).to_string();
        assert_eq!(opened(&major, None).unwrap().as_ref(), Some(&own));
        assert_eq!(opened(&major, Some(&next)).unwrap().as_ref(), Some(&next));
    }

    #[test]
    fn a_file_of_a_later_minor_or_another_major_is_refused_in_a_line() {
        let later = (FORM.minor + 2).to_string();
        let of_major = (FORM.major + 1).to_string();
        for (major, minor) in [(FORM.major.to_string(), Some(later.as_str())), (of_major, None)] {
            let refused = opened(&major, minor).unwrap_err();
            let said = format!("form {major}.{}", minor.unwrap_or("0"));
            assert!(matches!(&refused, Error::Config(why) if why.contains(&said)), "{refused:?}");
        }
    }
}
