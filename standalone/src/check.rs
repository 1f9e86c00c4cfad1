//! `check`: whether the flags of serving would work here: those of the gateway
//! and of the router, and the secret that the system makes when it has none.

use daemon::check::{Checks, Finding};
use gateway::cli;
use gateway::config::Wrong;

use crate::args::{Args, data_folder};
use crate::secret;

/// The checks of a whole system's flags. Fails where a value is wrong by itself.
pub fn check(args: &Args) -> Result<Checks, Wrong> {
    args.check_values()?;
    let mut checks = Checks::default();
    if args.front.auth.is_empty() {
        let folder = data_folder(args.store());
        let file = folder.join(secret::FILE);
        let file = file.display();
        let found = match secret::read(folder) {
            Err(wrong) => Finding::fail(wrong.0),
            Ok(Some(_)) => Finding::ok(format!("not given: the secret in {file} is used")),
            Ok(None) => Finding::ok(format!("not given: a secret will be made in {file}")),
        };
        checks.found("--jwt-secret", [found]);
    } else {
        cli::check::keys(&mut checks, &args.front.auth);
    }
    cli::check::tls(&mut checks, &args.front.tls);
    router::check::parts(&mut checks, &args.router, args.store());
    checks.process(args.listen, &args.daemon, args.admin_is_optional());
    Ok(checks)
}
