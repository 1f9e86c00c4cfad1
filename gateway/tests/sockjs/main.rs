//! SockJS over real sockets: what its protocol document says, and what must harm
//! nobody.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

#[path = "../limits/mod.rs"]
mod limits;
mod server;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message as Said;

use server::{MAX_BODY, Server, heard, soon};

const BUSY: &str = "c[2010,\"Another connection still open\"]\n";
const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";

#[tokio::test]
async fn a_session_is_opened_by_its_first_poll_and_carries_messages_both_ways() {
    let server = Server::start().await;
    assert_eq!(server.poll("/echo/000/s").await, "o\n");
    assert_eq!(server.send("/echo/000/s", r#"["a","b"]"#).await, 204);
    // The first part of the path is for load balancers.
    assert_eq!(server.poll("/echo/999/s").await, "a[\"a\",\"b\"]\n");
    assert_eq!(server.send("/echo/000/unknown", r#"["a"]"#).await, 404);
}

#[tokio::test]
async fn answers_have_the_headers_that_the_protocol_demands() {
    let server = Server::start().await;
    let ask = |method: &str, path: &str| {
        let request =
            server.request(method, path).header("Origin", "null").header("Cookie", "a=b; JSESSIONID=x");
        server.ask(request.header("Access-Control-Request-Headers", "a, b").body(Body::empty()).unwrap())
    };
    let answer = ask("POST", "/plain/0/s/xhr?token=alice").await;
    assert_eq!(
        answer.header("cache-control"),
        "no-store, no-cache, no-transform, must-revalidate, max-age=0"
    );
    assert_eq!(answer.header("access-control-allow-origin"), "null");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("content-type"), "application/javascript; charset=UTF-8");
    assert_eq!(answer.header("set-cookie"), "JSESSIONID=x; path=/");
    let preflight = ask("OPTIONS", "/plain/0/s/xhr_send").await;
    assert_eq!((preflight.status.as_u16(), &*preflight.body), (204, ""));
    assert_eq!(preflight.header("access-control-allow-headers"), "a, b");
    assert_eq!(preflight.header("access-control-allow-methods"), "OPTIONS, POST");
    assert_eq!(preflight.header("access-control-max-age"), "31536000");
    let info = ask("GET", "/plain/info").await;
    assert!(info.body.starts_with(r#"{"websocket":false,"origins":["*:*"],"cookie_needed":true,"entropy":"#));
    assert_eq!(info.header("set-cookie"), "");
    let wrong = ask("GET", "/echo/0/s/xhr").await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.header("allow"), wrong.header("content-type")),
        (405, "OPTIONS, POST", "")
    );
    assert_eq!(ask("GET", "/plain/websocket").await.status, 404, "there are none");
}

#[tokio::test]
async fn the_iframe_s_page_is_kept_until_it_changes() {
    let server = Server::start().await;
    let page = server.get("/echo/iframe-1.6.1.html?t=1").await;
    assert!(page.body.contains("<script src=\"https://cdn.test/sockjs.js\"></script>"));
    assert!(page.header("content-security-policy").contains("https://cdn.test/sockjs.js"));
    let tag = page.header("etag");
    let again = server.request("GET", "/echo/iframe.html").header("If-None-Match", tag).body(Body::empty());
    let again = server.ask(again.unwrap()).await;
    assert_eq!((again.status.as_u16(), &*again.body, again.header("content-type")), (304, "", ""));
}

#[tokio::test]
async fn streams_carry_frames_in_their_own_form_and_end_after_so_many_bytes() {
    let server = Server::start().await;
    let ways = [
        ("POST", "xhr_streaming", "h".repeat(2_048) + "\n", "o\n", "a[\"100% </script>\"]\n"),
        ("GET", "eventsource", "\r\n".to_owned(), "data: o\r\n\r\n", "data: a[\"100%25 </script>\"]\r\n\r\n"),
        (
            "GET",
            "htmlfile",
            String::new(),
            "<script>\np(\"o\");\n</script>\r\n",
            "<script>\np(\"a[\\\"100% \\u003c/script\\u003e\\\"]\");\n</script>\r\n",
        ),
    ];
    for (method, way, prelude, open, frame) in ways {
        let session = format!("/echo/0/{way}");
        let path = format!("{session}/{way}?token=alice&c=parent.f");
        let mut stream = server.stream(method, &path).await;
        let begun = stream.next().await;
        if way == "htmlfile" {
            assert!(begun.len() > 1_024 && begun.contains("var c = parent.parent.f;"), "{begun}");
        } else {
            assert_eq!(begun, prelude);
        }
        assert_eq!(stream.next().await, open);
        assert_eq!(server.send(&session, r#"["100% </script>"]"#).await, 204);
        assert_eq!(stream.next().await, frame);
        // Of frames 4,096 bytes; what began does not count.
        assert_eq!(server.send(&session, format!("[\"{}\"]", "x".repeat(4_096))).await, 204);
        assert!(stream.next().await.len() > 4_096);
        assert_eq!(stream.next().await, "", "{way}");
        // The session goes on with the next request.
        let mut stream = server.stream(method, &path).await;
        stream.next().await;
        assert_eq!(server.send(&session, r#"["on"]"#).await, 204);
        assert!(stream.next().await.contains("on"));
    }
}

#[tokio::test]
async fn a_poll_by_script_calls_what_the_page_names_and_nothing_else() {
    let server = Server::start().await;
    let answer = server.get("/echo/0/s/jsonp?token=alice&c=%63allback").await;
    assert_eq!(answer.body, "/**/callback(\"o\");\r\n");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let sent = |kind: &'static str, body: &'static str| {
        let request = server.request("POST", "/echo/0/s/jsonp_send?token=alice").header("Content-Type", kind);
        server.ask(request.body(Body::from(body)).unwrap())
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    assert_eq!(sent(FORM, "d=%5B%22x%22%5D").await.body, "ok");
    assert_eq!(sent("text/plain", r#"["%61"]"#).await.body, "ok");
    let answer = server.get("/echo/0/s/jsonp?token=alice&callback=f").await;
    assert_eq!(answer.body, "/**/f(\"a[\\\"x\\\",\\\"%61\\\"]\");\r\n");
    for body in ["", "d=", "p=p"] {
        let answer = sent(FORM, body).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (500, "Payload expected."), "{body}");
    }
    assert_eq!(sent(FORM, "d=%5B%22x").await.body, "Broken JSON encoding.");
    for way in ["jsonp", "htmlfile"] {
        let without = server.get(&format!("/echo/0/t/{way}?token=alice")).await;
        assert_eq!((without.status.as_u16(), &*without.body), (500, "\"callback\" parameter required"));
        for callback in ["", "%20", "*", "abc(", "abc%28", "a%0Ab", "%3Cscript%3E", &"a".repeat(65)] {
            let wrong = server.get(&format!("/echo/0/t/{way}?token=alice&c={callback}")).await;
            assert_eq!((wrong.status.as_u16(), &*wrong.body), (500, "invalid \"callback\" parameter"));
        }
    }
    assert_eq!(server.echo.open.load(Ordering::SeqCst), 1, "none of these has opened a session");
}

#[tokio::test]
async fn of_two_requests_that_receive_the_second_is_refused_and_the_first_goes_on() {
    let server = Server::start().await;
    let mut first = server.stream("POST", "/echo/0/s/xhr_streaming?token=alice").await;
    first.next().await;
    assert_eq!(first.next().await, "o\n");
    assert_eq!(server.poll("/echo/0/s").await, BUSY);
    let mut second = server.stream("POST", "/echo/0/s/xhr_streaming?token=alice").await;
    second.next().await;
    assert_eq!((second.next().await, second.next().await), (BUSY.to_owned(), String::new()));
    assert_eq!(server.send("/echo/0/s", r#"["a"]"#).await, 204);
    assert_eq!(first.next().await, "a[\"a\"]\n");
}

#[tokio::test]
async fn a_request_that_breaks_ends_its_session_and_who_comes_next_is_told() {
    let server = Server::start().await;
    let mut broken = server.stream("POST", "/echo/0/s/xhr_streaming?token=alice").await;
    broken.next().await;
    assert_eq!(broken.next().await, "o\n");
    drop(broken);
    server.until_open(0).await;
    for _ in 0..2 {
        assert_eq!(server.poll("/echo/0/s").await, INTERRUPTED);
    }
    assert_eq!(server.send("/echo/0/s", r#"["a"]"#).await, 204, "as before the client has heard");
}

#[tokio::test]
async fn a_session_that_nobody_receives_of_is_forgotten() {
    let server = Server::start().await;
    assert_eq!(server.poll("/echo/0/s").await, "o\n");
    assert_eq!(server.echo.open.load(Ordering::SeqCst), 1);
    server.until_open(0).await;
    assert_eq!(server.send("/echo/0/s", r#"["a"]"#).await, 404);
    assert_eq!(server.poll("/echo/0/s").await, "o\n", "another session");
}

#[tokio::test]
async fn the_end_is_told_to_whoever_receives_and_to_those_after() {
    let server = Server::start().await;
    assert_eq!(server.poll("/echo/0/s?token=alice&close").await, "o\n");
    for _ in 0..2 {
        assert_eq!(server.poll("/echo/0/s").await, "c[3000,\"Go away!\"]\n");
    }
    server.until_open(0).await;
    // One that ends by what it hears, while a request receives.
    let mut stream = server.stream("POST", "/echo/0/t/xhr_streaming?token=alice").await;
    stream.next().await;
    stream.next().await;
    assert_eq!(server.send("/echo/0/t", r#"["end","not heard"]"#).await, 204);
    assert_eq!(stream.next().await, "c[4000,\"as asked\"]\n");
    assert_eq!(stream.next().await, "");
    assert_eq!(server.poll("/echo/0/t").await, "c[4000,\"as asked\"]\n");
}

#[tokio::test]
async fn a_quiet_session_has_heartbeats() {
    let server = Server::with_heartbeat(Duration::from_millis(100)).await;
    assert_eq!(server.poll("/echo/0/s").await, "o\n");
    assert_eq!(server.poll("/echo/0/s").await, "h\n");
    let mut stream = server.stream("GET", "/echo/0/s/eventsource?token=alice").await;
    stream.next().await;
    assert_eq!(stream.next().await, "data: h\r\n\r\n");
    let mut socket = server.websocket("/echo/0/s/websocket?token=alice").await;
    assert_eq!(heard(&mut socket).await, Said::text("o"));
    assert_eq!(heard(&mut socket).await, Said::text("h"));
}

#[tokio::test]
async fn only_who_has_opened_a_session_may_continue_it() {
    let server = Server::start().await;
    assert_eq!(server.poll("/echo/0/s").await, "o\n");
    assert_eq!(server.send("/echo/0/s", r#"["alice's"]"#).await, 204);
    assert_eq!(server.send("/echo/0/s?token=bob", r#"["bob's"]"#).await, 404);
    // The same name is another session of another user.
    assert_eq!(server.poll("/echo/0/s?token=bob").await, "o\n");
    assert_eq!(server.send("/echo/0/s?token=bob", r#"["bob's"]"#).await, 204);
    assert_eq!(server.poll("/echo/0/s").await, "a[\"alice's\"]\n");
    assert_eq!(server.poll("/echo/0/s?token=bob").await, "a[\"bob's\"]\n");
    for path in ["xhr", "xhr_send", "xhr_streaming"] {
        assert_eq!(server.post(&format!("/echo/0/s/{path}"), "[]").await.status, 401);
    }
    let refused = tokio_tungstenite::connect_async(format!("ws://{}/echo/websocket", server.address)).await;
    assert!(refused.unwrap_err().to_string().contains("401"));
}

#[tokio::test]
async fn payloads_that_are_wrong_are_refused_and_the_session_goes_on() {
    let server = Server::start().await;
    assert_eq!(server.poll("/echo/0/s").await, "o\n");
    let deep = "[".repeat(10_000);
    let deep_string = format!("[\"a\",{}", "{\"a\":".repeat(10_000));
    for body in ["[\"x", "[1]", "[[\"x\"]]", "{}", "null", "\"x\"", "[\"\\ud800\"]", &deep, &deep_string] {
        let answer = server.post("/echo/0/s/xhr_send?token=alice", body.to_owned()).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (500, "Broken JSON encoding."), "{body:.40}");
    }
    let answer = server.post("/echo/0/s/xhr_send?token=alice", "").await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (500, "Payload expected."));
    let many = format!("[{}]", vec!["\"\""; 10_001].join(","));
    assert_eq!(server.send("/echo/0/s", many).await, 413);
    assert_eq!(server.send("/echo/0/s", r#"["a"]"#).await, 204);
    for kind in ["text/plain", "T", "application/json; charset=utf-8", "text/xml", "image/png", ""] {
        let request = server.request("POST", "/echo/0/s/xhr_send?token=alice").header("Content-Type", kind);
        assert_eq!(server.ask(request.body(Body::from("[]")).unwrap()).await.status, 204, "{kind}");
    }
    assert_eq!(server.poll("/echo/0/s").await, "a[\"a\"]\n", "and nothing of the others");
}

#[tokio::test]
async fn a_body_of_any_size_takes_no_more_room_than_the_limit() {
    let server = Server::start().await;
    assert_eq!(server.poll("/echo/0/s").await, "o\n");
    let fits = format!("[\"{}\"]", "x".repeat(MAX_BODY - 4));
    assert_eq!(server.send("/echo/0/s", fits.clone()).await, 204);
    assert_eq!(server.send("/echo/0/s", fits + " ").await, 413);
    // It says so beforehand, and is answered before a byte of it has come.
    let never = || futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let large =
        server.request("POST", "/echo/0/s/xhr_send?token=alice").header("Content-Length", 100_000_000);
    let response = server.begin(large.body(Body::from_stream(never())).unwrap()).await;
    assert_eq!(response.status(), 413);
    // It does not say so, and never ends.
    let endless = futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 1_024]))
    });
    let response = server.request("POST", "/echo/0/s/xhr_send?token=alice").body(Body::from_stream(endless));
    assert_eq!(server.begin(response.unwrap()).await.status(), 413);
}

#[tokio::test]
async fn who_sends_faster_than_messages_are_taken_waits_and_loses_none() {
    let server = Server::start().await;
    assert_eq!(server.poll("/echo/0/s").await, "o\n");
    server.echo.busy.store(true, Ordering::SeqCst);
    let numbers = |from: usize| (from..from + 100).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
    let sending = async { server.send("/echo/0/s", format!("[{}]", numbers(0))).await };
    let receiving = async {
        // Nothing of it is said before it is taken.
        let poll = server.post("/echo/0/s/xhr?token=alice", "");
        server.echo.busy.store(false, Ordering::SeqCst);
        server.echo.ready.wake();
        let mut got = soon(poll).await.body;
        while !got.contains("\"99\"") {
            got.push_str(&server.poll("/echo/0/s").await);
        }
        got
    };
    let (status, got) = soon(async { tokio::join!(sending, receiving) }).await;
    assert_eq!(status, 204);
    assert_eq!(got.replace("]\na[", ",").trim_end(), format!("a[{}]", numbers(0)));
}

#[tokio::test]
async fn websockets_have_frames_or_none_and_are_sessions_by_themselves() {
    let server = Server::start().await;
    let mut one = server.websocket("/echo/0/s/websocket?token=alice").await;
    let mut two = server.websocket("/echo/0/s/websocket?token=alice").await;
    assert_eq!((heard(&mut one).await, heard(&mut two).await), (Said::text("o"), Said::text("o")));
    for text in ["", "[]", r#"["a","b"]"#, "\"c\""] {
        one.send(Said::text(text)).await.unwrap();
    }
    let mut got = String::new();
    while !got.contains('c') {
        got.push_str(heard(&mut one).await.to_text().unwrap());
    }
    assert_eq!(got.replace("]a[", ","), r#"a["a","b","c"]"#);
    let mut raw = server.websocket("/echo/websocket?token=alice").await;
    for said in [Said::text("[\"a\""), Said::binary(vec![0, 255])] {
        raw.send(said.clone()).await.unwrap();
        assert_eq!(heard(&mut raw).await, said);
    }
    raw.send(Said::text("end")).await.unwrap();
    let Said::Close(Some(frame)) = heard(&mut raw).await else { panic!("no close frame") };
    assert_eq!((u16::from(frame.code), &*frame.reason), (4000, "as asked"));
    let mut ends = server.websocket("/echo/0/s/websocket?token=alice&close").await;
    assert_eq!(heard(&mut ends).await, Said::text("o"));
    assert_eq!(heard(&mut ends).await, Said::text("c[3000,\"Go away!\"]"));
    assert!(matches!(heard(&mut ends).await, Said::Close(_)));
    drop((one, two));
    server.until_open(0).await;
}

#[tokio::test]
async fn a_websocket_that_breaks_the_framing_ends_and_nothing_else_does() {
    let server = Server::start().await;
    let mut other = server.websocket("/echo/0/s/websocket?token=alice").await;
    heard(&mut other).await;
    let deep = "[".repeat(10_000);
    for wrong in
        [Said::text("[\"a"), Said::text("a"), Said::text("[1]"), Said::text(deep), Said::binary(vec![1])]
    {
        let mut socket = server.websocket("/echo/0/s/websocket?token=alice").await;
        assert_eq!(heard(&mut socket).await, Said::text("o"));
        socket.send(wrong).await.unwrap();
        let Said::Close(Some(frame)) = heard(&mut socket).await else { panic!("no close frame") };
        assert_eq!(u16::from(frame.code), 1002);
    }
    other.send(Said::text("\"on\"")).await.unwrap();
    assert_eq!(heard(&mut other).await, Said::text("a[\"on\"]"));
    assert_eq!(server.get("/echo/0/s/websocket?token=alice").await.status, 400, "no handshake");
    assert_eq!(server.post("/echo/0/s/websocket?token=alice", "").await.status, 405);
}
