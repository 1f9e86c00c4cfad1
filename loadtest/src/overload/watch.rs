//! The memory of servers' processes while something goes on.

use std::time::Duration;

use anyhow::Result;
use testbed::Memory;
use tokio::time::sleep;

use crate::workload::Servers;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Resident bytes of each process.
pub(super) fn memory(servers: &Servers) -> Result<Vec<u64>> {
    servers.processes.iter().map(|process| Ok(Memory::of(process.pid)?.resident)).collect()
}

/// What comes of this, and the most memory of each process meanwhile.
pub(super) async fn beside<T>(
    servers: &Servers,
    what: impl Future<Output = Result<T>>,
) -> Result<(T, Vec<u64>)> {
    let mut most = memory(servers)?;
    let looking = async {
        loop {
            sleep(LOOK).await;
            for (most, now) in most.iter_mut().zip(memory(servers)?) {
                *most = now.max(*most);
            }
        }
    };
    let done = tokio::select! {
        done = what => done?,
        failed = looking => return failed,
    };
    Ok((done, most))
}
