//! What an operator's tools read of each program: `/metrics`, which promtool
//! must like, and log lines, which have our fields and no dependency's.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::client::Account;
use loadtest::client::http::Http;
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Binaries, Process, Profile, port, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{http_send, one_message};

/// All in one process, on a store of its own.
struct Standalone {
    process: Process,
    address: String,
    admin: String,
    _folder: TempDir,
}

impl Standalone {
    async fn start(flags: &[&str]) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(|| Binaries::build(Profile::Debug)).await??;
        let folder = TempDir::with_prefix("switchboard-standalone-")?;
        let address = format!("127.0.0.1:{}", port::free());
        let admin = format!("127.0.0.1:{}", port::free());
        let store = format!("embedded:{}", folder.path().join("data").display());
        let mut arguments: Vec<String> =
            [("--listen", address.as_str()), ("--admin-listen", &admin), ("--store", &store)]
                .iter()
                .flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()])
                .collect();
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let mut process = Process::spawn("standalone", &binaries.standalone(), &arguments)?;
        process.ready(&format!("http://{admin}/readyz"), Duration::from_secs(60)).await?;
        Ok(Self { process, address, admin: format!("http://{admin}"), _folder: folder })
    }
}

async fn metrics(admin: &str) -> Result<String> {
    let answer =
        Http::new(&Account::new(admin, "", "operator"))?.request(http::Method::GET, "/metrics", None).await?;
    ensure!(answer.status == 200, "{admin}: {}", answer.status);
    Ok(String::from_utf8(answer.body.to_vec())?)
}

/// What promtool finds wrong; nothing when all is well.
async fn complaints(text: String) -> Result<String> {
    let checked = tokio::task::spawn_blocking(move || -> Result<String> {
        use std::io::Write as _;
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("promtool is needed (Debian's package prometheus)")?;
        promtool.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
        let output = promtool.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said)?;
        ensure!(output.status.success() || !said.is_empty(), "promtool: {}", output.status);
        Ok(said)
    });
    checked.await?
}

#[tokio::test]
async fn promtool_likes_the_metrics_of_every_program() -> Result<()> {
    // It sees what is wrong at all.
    let wrong = "# HELP a_count x\n# TYPE a_count gauge\na_count 1\n".to_owned();
    ensure!(complaints(wrong).await?.contains("a_count"), "promtool checks nothing");
    let mut cluster = Cluster::builder().routers(1).start().await?;
    one_message(&cluster).await?;
    let standalone = Standalone::start(&[]).await?;
    let admins = [
        cluster.gateway_node(0).admin_url(),
        cluster.fleet.routers()[0].admin_url(),
        standalone.admin.clone(),
    ];
    for admin in admins {
        let text = metrics(&admin).await?;
        ensure!(text.contains("process_open_fds"), "{text}");
        let said = complaints(text).await?;
        ensure!(said.is_empty(), "{admin}:\n{said}");
    }
    Ok(())
}

/// RFC 9113 §6.7: the answer to a PING that was never sent, and a PING.
#[tokio::test]
async fn frames_that_nobody_asked_for_leave_no_line_in_the_log() -> Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    const ANSWER: &[u8] = b"\x00\x00\x08\x06\x01\x00\x00\x00\x00unasked!";
    const PING: &[u8] = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00question";
    let standalone = Standalone::start(&[]).await?;
    let mut stream = TcpStream::connect(&standalone.address).await?;
    stream.write_all(PREFACE).await?;
    for _ in 0..20 {
        stream.write_all(ANSWER).await?;
    }
    stream.write_all(PING).await?;
    let answered = async {
        let mut read = Vec::new();
        while !read.windows(8).any(|bytes| bytes == b"question") {
            ensure!(stream.read_buf(&mut read).await? > 0, "closed after {read:?}");
        }
        Ok(())
    };
    timeout(PATIENCE, answered).await.context("no answer to the PING")??;
    let output = standalone.process.output();
    ensure!(!output.contains("WARN") && !output.contains("h2::"), "{output}");
    Ok(())
}

/// With everything that can be said, and with the store going away and coming
/// back meanwhile: its client library has much to say then.
#[tokio::test]
async fn json_lines_have_our_fields_and_of_dependencies_the_message_alone() -> Result<()> {
    const THEIRS: [&str; 4] = ["timestamp", "level", "target", "message"];
    const OURS: [&str; 6] = ["daemon", "gateway", "proto", "router", "standalone", "store"];
    let flags = "--log trace,h2=trace --log-format json";
    let mut cluster = Cluster::builder().routers(1).gateway_flags(flags).router_flags(flags).start().await?;
    one_message(&cluster).await?;
    cluster.redis().restart().await?;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    wait::until_true(PATIENCE, "the store is back", async || {
        http_send(&cluster, parent).await.is_ok_and(|status| status == 200)
    })
    .await?;
    let outputs =
        [cluster.gateway_node(0).process()?.output(), cluster.fleet.routers()[0].process()?.output()];
    for output in outputs {
        // The last line may be half written.
        let (output, _) = output.rsplit_once('\n').context("something was logged")?;
        ensure!(output.contains(r#""target":"h2::"#), "the dependencies say nothing");
        for line in output.lines() {
            let value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let fields = value.as_object().with_context(|| line.to_owned())?;
            let ours = fields["target"].as_str().and_then(|target| target.split("::").next());
            let ours = ours.is_some_and(|name| OURS.contains(&name));
            for name in fields.keys() {
                let of_trace = matches!(name.as_str(), "trace_id" | "span_id");
                ensure!(ours || of_trace || THEIRS.contains(&name.as_str()), "{name} in {line}");
                ensure!(!name.starts_with("log.") && !name.starts_with("span") || of_trace, "{line}");
            }
        }
    }
    Ok(())
}
