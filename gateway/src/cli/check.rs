//! `check`: whether the flags of serving would work here. What standalone has,
//! too, is a function of its own.

use daemon::check::{Checks, Finding};
use daemon::internal_tls::InternalTls;
use daemon::pem_files::readable_by_all;
use daemon::validity::Untimely;

use crate::caller::auth;
use crate::config::{self, AuthArgs, AuthConfig, GatewayArgs, PublicKey, RouterUrl, TlsArgs, Wrong};
use crate::link;

/// The checks of a gateway's flags. Fails where a value is wrong by itself.
pub fn gateway(args: &GatewayArgs) -> Result<Checks, Wrong> {
    args.front.auth.life()?;
    args.front.check_values(AuthConfig::default(), None)?;
    args.check_routers()?;
    args.peers.check(&args.internal_tls)?;
    let mut checks = Checks::default();
    keys(&mut checks, &args.front.auth);
    tls(&mut checks, &args.front.tls);
    let store = store::Config::new(args.store().clone());
    checks.add("--store", async move {
        let looked = store::look_at_bus(&store).await;
        Finding::of(&store.url, looked.map(|look| (look.what, look.warnings)))
    });
    let internal_tls = args.internal_tls.look(&mut checks);
    // Whose own certificate is no good is refused by routers, too.
    if internal_tls.is_some() == args.internal_tls.is_given() {
        for url in args.routers.clone() {
            let tls = internal_tls.clone();
            checks.add("--router", async move { router(&url, tls.as_ref()).await });
        }
    }
    Ok(checks)
}

/// Adds the checks of all keys that tokens may be signed with.
pub fn keys(checks: &mut Checks, args: &AuthArgs) {
    if args.is_empty() {
        checks.found("keys", [Finding::fail(AuthArgs::NONE)]);
    }
    match config::secret(args.jwt_secret.as_ref(), args.jwt_secret_file.as_deref()) {
        Err(wrong) => failed(checks, &wrong),
        Ok(None) => {}
        Ok(Some(_)) => match args.jwt_secret_file.as_deref() {
            None => checks.found("--jwt-secret", [Finding::ok("is long enough")]),
            Some(file) => {
                let warning = readable_by_all(file).map(Finding::warn);
                let ok = || Finding::ok(format!("{} can be read and is long enough", file.display()));
                checks.found("--jwt-secret-file", [warning.unwrap_or_else(ok)]);
            }
        },
    }
    for path in &args.jwt_public_key {
        match PublicKey::read(path).and_then(|file| auth::algorithm_of(&file)) {
            Err(wrong) => failed(checks, &wrong),
            Ok(algorithm) => {
                let text = format!("{} is a key for {algorithm}", path.display());
                checks.found("--jwt-public-key", [Finding::ok(text)]);
            }
        }
    }
    if let Some(url) = args.jwks_url().cloned() {
        let warning = args.jwt_audience.is_empty().then(|| Finding::warn(AuthConfig::NO_AUDIENCE));
        checks.add("--jwks-url", async move {
            let fetched = match auth::fetch_once(&url).await {
                Err(why) => Finding::fail(format!("{url}: {why}")),
                Ok(set) if set.usable == 0 => Finding::fail(format!(
                    "{url}: of its {} keys none is an RSA, P-256 or Ed25519 key for signatures",
                    set.all
                )),
                Ok(set) => Finding::ok(format!("{url}: {} of its {} keys can be used", set.usable, set.all)),
            };
            std::iter::once(fetched).chain(warning).collect()
        });
    }
}

/// Adds the check of the certificate that clients see, if there is one.
pub fn tls(checks: &mut Checks, args: &TlsArgs) {
    match args.check() {
        Err(wrong) => failed(checks, &wrong),
        Ok(None) => {}
        Ok(Some(tls)) => {
            let certificate = match tls.untimely() {
                Some(Untimely::Refused(why)) => Finding::fail(format!("the certificate {why}")),
                Some(Untimely::EndsSoon(why)) => Finding::warn(format!("the certificate {why}")),
                None => Finding::ok("the certificate can be used with its key"),
            };
            checks.found("--tls-cert", [certificate]);
            checks.found("--tls-key", readable_by_all(tls.key()).map(Finding::warn));
        }
    }
}

/// One line for each address of a router's name.
async fn router(url: &RouterUrl, tls: Option<&InternalTls>) -> Vec<Finding> {
    let addresses = match link::look_up(url).await {
        Err(error) => {
            let why = format!("{url}: the name has no address ({error}): check --router and the DNS");
            return vec![Finding::fail(why)];
        }
        Ok(addresses) => addresses,
    };
    let looks = addresses.into_iter().map(|address| async move {
        match link::look(address, tls).await {
            Ok(()) => Finding::ok(format!("{url}: a router serves at {address}")),
            Err(why) => Finding::fail(format!("{url}: no router serves at {address}: {why}")),
        }
    });
    futures_util::future::join_all(looks).await
}

/// Adds what is wrong with a flag, in the line of that flag.
fn failed(checks: &mut Checks, wrong: &Wrong) {
    let (flag, text) = wrong.0.split_once(": ").unwrap_or(("keys", &wrong.0));
    checks.found(flag.to_owned(), [Finding::fail(text)]);
}
