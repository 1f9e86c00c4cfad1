//! `check`: whether the flags of serving would work here.

use daemon::check::{Checks, Finding, somebody_listens};
use store::Url;

use crate::config::{Args, Options};

/// The checks of a router's flags. Fails with the flag whose value is wrong by
/// itself.
pub fn check(args: &Args) -> Result<Checks, String> {
    args.check()?;
    let mut checks = Checks::default();
    parts(&mut checks, &args.options, args.store());
    args.internal_tls.look(&mut checks);
    checks.process(args.listen, &args.daemon, false);
    Ok(checks)
}

/// Adds the checks that standalone has, too: of the store, the archive and the webhook.
pub fn parts(checks: &mut Checks, options: &Options, store: &Url) {
    let config = options.store_config(store.clone());
    checks.add("--store", async move {
        let looked = store::look(&config).await;
        Finding::of(&config.url, looked.map(|look| (look.what, look.warnings)))
    });
    if let Some(archive) = options.archive() {
        checks.add("--archive", async move {
            let looked = store::look_at_archive(&archive).await;
            Finding::of(&archive.url, looked.map(|look| (look.what, look.warnings)))
        });
    }
    if let Some(url) = options.webhook.url().cloned() {
        checks.add("--webhook-url", async move {
            let (host, port) = url.peer();
            vec![match somebody_listens(&host, port).await {
                Ok(()) => Finding::ok(format!("{url}: somebody listens there; nothing was posted")),
                Err(why) => Finding::fail(format!("{url}: {why}: check the URL, and that the receiver runs")),
            }]
        });
    }
}
