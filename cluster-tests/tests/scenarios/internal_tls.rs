//! Routers and gateways let in nobody but each other, and go on with other
//! certificates when theirs are replaced.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE, Talk};
use http::Method;
use loadtest::client::Account;
use loadtest::client::http::Http;
use loadtest::fleet::SECRET;
use testbed::{Binaries, Profile, certificates, wait};

use crate::{people, settle_without_a_break};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const EVERY: Duration = Duration::from_millis(20);

/// As the compose file and the manifests have them made.
fn authority(folder: &Path) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/authority");
    let made = Command::new(script).arg(folder).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// The flags of internal TLS with these files.
fn flags(certificate: &Path, key: &Path, authority: &Path) -> String {
    format!(
        "--internal-tls-cert {} --internal-tls-key {} --internal-tls-ca {}",
        certificate.display(),
        key.display(),
        authority.display()
    )
}

fn flags_of(folder: &Path) -> String {
    flags(&folder.join("tls.crt"), &folder.join("tls.key"), &folder.join("ca.crt"))
}

/// What a gateway says that would use this router.
fn check(cluster: &mut Cluster, scheme: &str, flags: &str) -> Result<Output> {
    let router = format!("--router={scheme}://{}", cluster.router_node(0).address());
    let store = format!("--store={}", cluster.redis().url());
    let program = Binaries::build(Profile::Debug)?.gateway();
    let listen = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--jwt-secret", SECRET];
    Ok(Command::new(program)
        .arg("check")
        .args([&router, &store])
        .args(listen)
        .args(flags.split_whitespace())
        .output()?)
}

async fn refused(cluster: &mut Cluster) -> Result<u64> {
    let admin = Account::new(&cluster.router_node(0).admin_url(), "", "none");
    let answer = Http::new(&admin)?.request(Method::GET, "/metrics", None).await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let is_it = |line: &&str| {
        line.starts_with("switchboard_router_links_refused_total") && line.contains("\"certificate\"")
    };
    let number = text.lines().find(is_it).and_then(|line| line.rsplit(' ').next());
    Ok(number.context("the metric is there")?.parse()?)
}

#[tokio::test]
async fn strangers_are_refused_and_counted_and_those_inside_go_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    authority(folder.path())?;
    let ours = flags_of(folder.path());
    let mut cluster = Cluster::builder().router_flags(&ours).gateway_flags(&ours).start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(50).await?;

    let same = check(&mut cluster, "https", &ours)?;
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    assert_eq!(refused(&mut cluster).await?, 0);
    let theirs = certificates();
    let theirs = (theirs.join("theirs.cert.pem"), theirs.join("theirs.key.pem"));
    // Believes whomever we believe, and has a certificate of its own authority.
    let believes = folder.path().join("both.pem");
    let both =
        [folder.path().join("ca.crt"), certificates().join("theirs.ca.pem")].map(std::fs::read_to_string);
    std::fs::write(&believes, both.into_iter().collect::<std::io::Result<Vec<_>>>()?.concat())?;
    for (scheme, flags) in [("https", flags(&theirs.0, &theirs.1, &believes)), ("http", String::new())] {
        let before = refused(&mut cluster).await?;
        let stranger = check(&mut cluster, scheme, &flags)?;
        let said = String::from_utf8(stranger.stdout)?;
        assert_eq!(stranger.status.code(), Some(1), "{said}");
        assert!(said.contains("no router serves at"), "{said}");
        wait::until_true(PATIENCE, "it was counted", async || {
            refused(&mut cluster).await.is_ok_and(|now| now > before)
        })
        .await?;
    }

    cluster.progress(50).await?;
    talk.stop().await?;
    settle_without_a_break(&mut cluster, &people).await
}

#[tokio::test]
async fn another_authority_takes_over_without_a_break() -> Result<()> {
    let (now, next) = (tempfile::tempdir()?, tempfile::tempdir()?);
    authority(now.path())?;
    authority(next.path())?;
    let ours = flags_of(now.path());
    let mut cluster = Cluster::builder().router_flags(&ours).gateway_flags(&ours).start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(50).await?;

    let read = |file: &str| std::fs::read_to_string(next.path().join(file));
    let old = std::fs::read_to_string(now.path().join("ca.crt"))?;
    let put = |file: &str, text: &str| std::fs::write(now.path().join(file), text);
    put("ca.crt", &(old + &read("ca.crt")?))?;
    reread(&mut cluster, 1).await?;
    put("tls.key", &read("tls.key")?)?;
    put("tls.crt", &read("tls.crt")?)?;
    reread(&mut cluster, 2).await?;
    put("ca.crt", &read("ca.crt")?)?;
    reread(&mut cluster, 3).await?;
    // Until now all links were those of the beginning.
    cluster.progress(50).await?;
    for router in [0, 1] {
        cluster.router_node(router).restart().await?;
        cluster.progress(50).await?;
    }
    talk.stop().await?;
    settle_without_a_break(&mut cluster, &people).await
}

/// Waits until every process has taken so many other sets of files.
async fn reread(cluster: &mut Cluster, times: usize) -> Result<()> {
    const SAID: &str = "new connections get the new certificate";
    for (gateways, index) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let node = if gateways { cluster.gateway_node(index) } else { cluster.router_node(index) };
        let process = node.process()?;
        wait::until_true(PATIENCE, "the new files are used", async || {
            process.output().matches(SAID).count() >= times
        })
        .await?;
    }
    Ok(())
}
