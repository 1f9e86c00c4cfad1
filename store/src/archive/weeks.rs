//! Partitions: one for each week in which something was copied, dropped as a whole
//! when all in it is too old.

use proto::{ConversationId, Time};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::read::{conversation_id, unsigned};
use super::{Archive, List};
use crate::Result;

/// A partition has what was copied within this time.
const WEEK_MS: u64 = 7 * 24 * 3600 * 1000;

/// The names of the partitions begin so.
const NAME: &str = "switchboard_entries_w";

const PARTITIONS: &str = "\
    SELECT partition.relname::text FROM pg_inherits \
    JOIN pg_class AS partition ON partition.oid = inhrelid \
    WHERE inhparent = 'switchboard_entries'::regclass";

/// The last entries of conversations in one partition.
pub(crate) struct Lasts {
    /// The conversation and list, and the highest number.
    pub(crate) lasts: Vec<(ConversationId, List, u64)>,
    /// Where to go on, if there are more.
    pub(crate) next: Option<(String, i16)>,
}

/// The week of a time, counted from 1970.
pub(super) fn week(time: Time) -> i32 {
    i32::try_from(time.0 / WEEK_MS).unwrap_or(i32::MAX)
}

/// Makes the partition of a week where it is missing. Several may do so at once:
/// PostgreSQL tells all but one that it is there, `IF NOT EXISTS` or not.
pub(super) async fn make(client: &Client, week: i32) -> std::result::Result<(), tokio_postgres::Error> {
    let name = format!("{NAME}{week}");
    let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await?;
    if !row.get::<_, bool>(0) {
        let statement = format!(
            "CREATE TABLE IF NOT EXISTS {name} PARTITION OF switchboard_entries FOR VALUES IN ({week})"
        );
        let made = client.batch_execute(&statement).await;
        return made.or_else(|error| if is_there(&error) { Ok(()) } else { Err(error) });
    }
    Ok(())
}

/// Whether somebody else has made it meanwhile.
fn is_there(error: &tokio_postgres::Error) -> bool {
    let there = [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT, SqlState::UNIQUE_VIOLATION];
    error.code().is_some_and(|code| there.contains(code))
}

impl Archive {
    /// The weeks that ended before this time and have a partition, in order.
    pub(crate) async fn weeks_before(&self, time: Time) -> Result<Vec<i32>> {
        let rows = self.pool.write(async |client| client.query(PARTITIONS, &[]).await).await?;
        let weeks =
            rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok()?.strip_prefix(NAME)?.parse().ok());
        let mut weeks: Vec<i32> = weeks.filter(|number| *number < week(time)).collect();
        weeks.sort_unstable();
        Ok(weeks)
    }

    /// Up to where a week has entries of each conversation: some of them, after
    /// `after`.
    pub(crate) async fn lasts(&self, week: i32, after: Option<(String, i16)>, most: u32) -> Result<Lasts> {
        let (conversation, kind) = after.unwrap_or_default();
        let statement = format!(
            "SELECT max(number), conversation, kind FROM {NAME}{week} WHERE (conversation, kind) > ($1, $2) \
             GROUP BY conversation, kind ORDER BY conversation, kind LIMIT {most}"
        );
        let asked = self.pool.write(async |client| client.query(&statement, &[&conversation, &kind]).await);
        let rows = asked.await?;
        let mut lasts = Vec::with_capacity(rows.len());
        let mut next = None;
        for row in &rows {
            let (conversation, kind): (_, i16) = (conversation_id(row, 1)?, row.get(2));
            let list = if kind == List::Messages.kind() { List::Messages } else { List::Changes };
            next = Some((conversation.to_string(), kind));
            lasts.push((conversation, list, unsigned(row, 0)?));
        }
        Ok(Lasts { next: next.filter(|_| rows.len() == most as usize), lasts })
    }

    /// Removes a week's entries for good.
    pub(crate) async fn drop_week(&self, week: i32) -> Result<()> {
        let statement = format!("DROP TABLE IF EXISTS {NAME}{week}");
        self.pool.write(async |client| client.batch_execute(&statement).await).await
    }
}
