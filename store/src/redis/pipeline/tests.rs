//! The pipeline against servers that do as they should, and against others.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use super::*;
use crate::Url;
use crate::trouble;

const PATIENCE: Duration = Duration::from_secs(30);

/// A pipeline, and the server that fred names to it.
struct Stage {
    pipeline: Pipeline,
    listener: TcpListener,
    named: broadcast::Sender<Server>,
    _end: DropGuard,
}

impl Stage {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pipeline = Pipeline::new(&trouble::STORE);
        let (named, names) = broadcast::channel(8);
        let url = Url::Redis("redis://user:word@127.0.0.1/3".parse().unwrap());
        let address = Address::parse(&url, PATIENCE).unwrap();
        let end = CancellationToken::new();
        TaskTracker::new().spawn(pipeline.clone().run(address, Names::Fred(names), end.clone()));
        let stage = Self { pipeline, listener, named, _end: end.drop_guard() };
        stage.name();
        stage
    }

    /// fred has connected to the server.
    fn name(&self) {
        let at = self.listener.local_addr().unwrap();
        self.named.send(Server::new(at.ip().to_string(), at.port())).unwrap();
    }

    /// Takes the next connection of the pipeline, which is open then.
    async fn accept(&self) -> TcpStream {
        let accepted = timeout(PATIENCE, self.listener.accept()).await.unwrap();
        let mut redis = accepted.unwrap().0;
        expect(&mut redis, &["AUTH", "user", "word"]).await;
        expect(&mut redis, &["SELECT", "3"]).await;
        expect(&mut redis, &["PING"]).await;
        let made = self.pipeline.made();
        redis.write_all(b"+OK\r\n+OK\r\n+PONG\r\n").await.unwrap();
        timeout(PATIENCE, self.pipeline.opened()).await.unwrap();
        assert_eq!(self.pipeline.made(), made + 1);
        redis
    }

    fn ask(&self, word: &str) -> Result<oneshot::Receiver<Outcome>> {
        self.pipeline.call(|into| command(into, &[word]))
    }
}

fn command(into: &mut BytesMut, words: &[&str]) {
    put_command(into, words.len());
    words.iter().for_each(|word| put_word(into, word.as_bytes()));
}

/// Reads this command, and nothing more.
async fn expect(redis: &mut TcpStream, words: &[&str]) {
    let mut expected = BytesMut::new();
    command(&mut expected, words);
    let mut read = vec![0; expected.len()];
    timeout(PATIENCE, redis.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(read, expected, "{words:?}");
}

async fn outcome(reply: oneshot::Receiver<Outcome>) -> Outcome {
    timeout(PATIENCE, reply).await.unwrap().unwrap()
}

fn text(text: &'static str) -> Reply {
    Reply::Text(bytes::Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn an_answer_tells_that_redis_is_well_once_and_a_refusal_does_not() {
    let stage = Stage::set().await;
    let mut redis = stage.accept().await;
    assert!(!stage.pipeline.has_answered());
    for (answer, tells) in [("+1\r\n", true), ("-LOADING\r\n", false)] {
        let asked = stage.ask("asked").unwrap();
        redis.write_all(answer.as_bytes()).await.unwrap();
        outcome(asked).await.unwrap();
        assert_eq!(
            [stage.pipeline.has_answered(), stage.pipeline.has_answered()],
            [tells, false],
            "{answer}"
        );
    }
}

#[tokio::test]
async fn replies_come_to_those_who_asked_in_their_order_however_they_are_cut() {
    let stage = Stage::set().await;
    let mut redis = stage.accept().await;
    let asked: Vec<_> = ["one", "two", "three"].map(|word| stage.ask(word).unwrap()).into();
    stage.pipeline.tell(|into| command(into, &["told"])).unwrap();
    let gone = stage.ask("gone").unwrap();
    drop(gone);
    let last = stage.ask("last").unwrap();
    for word in ["one", "two", "three", "told", "gone", "last"] {
        expect(&mut redis, &[word]).await;
    }
    for byte in b"+1\r\n*1\r\n$1\r\n2\r\n-ERR 3\r\n:4\r\n+gone\r\n+last\r\n" {
        redis.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let expected =
        [text("1"), Reply::List(vec![text("2")]), Reply::Refusal(bytes::Bytes::from_static(b"ERR 3"))];
    for (reply, expected) in asked.into_iter().zip(expected) {
        assert_eq!(outcome(reply).await.unwrap(), expected);
    }
    assert_eq!(outcome(last).await.unwrap(), text("last"));
    assert_eq!(stage.pipeline.queue().bytes, 0);
}

#[tokio::test]
async fn a_server_that_closes_fails_all_that_waits_and_is_connected_to_again() {
    let stage = Stage::set().await;
    let mut redis = stage.accept().await;
    let (written, more) = (stage.ask("written").unwrap(), stage.ask("more").unwrap());
    expect(&mut redis, &["written"]).await;
    drop(redis);
    for lost in [written, more] {
        let why = outcome(lost).await.unwrap_err();
        assert!(why.contains("the connection to redis ended"), "{why}");
    }
    let mut redis = stage.accept().await;
    let again = stage.ask("again").unwrap();
    // Nothing of before is sent again.
    expect(&mut redis, &["again"]).await;
    redis.write_all(b"+OK\r\n").await.unwrap();
    assert_eq!(outcome(again).await.unwrap(), text("OK"));
}

#[tokio::test]
async fn nothing_is_queued_for_a_connection_that_is_not_there() {
    let stage = Stage::set().await;
    let accepted = timeout(PATIENCE, stage.listener.accept()).await.unwrap().unwrap();
    let error = stage.ask("early").unwrap_err();
    assert!(matches!(&error, Error::Unavailable(why) if why == "not connected"), "{error}");
    drop(accepted);
    let mut redis = stage.accept().await;
    let reply = stage.ask("later").unwrap();
    expect(&mut redis, &["later"]).await;
    redis.write_all(b"+OK\r\n").await.unwrap();
    outcome(reply).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_the_next_is_the_one_that_fred_names() {
    let stage = Stage::set().await;
    let mut hanging = stage.accept().await;
    let reply = stage.ask("hangs").unwrap();
    expect(&mut hanging, &["hangs"]).await;
    stage.pipeline.cut("no answer to a ping");
    assert!(outcome(reply).await.unwrap_err().contains("no answer to a ping"));
    assert!(!stage.pipeline.is_open());
    stage.name();
    stage.accept().await;
}

#[tokio::test]
async fn when_fred_connects_anew_so_does_the_pipeline() {
    let stage = Stage::set().await;
    let _first = stage.accept().await;
    let reply = stage.ask("lost").unwrap();
    stage.name();
    assert!(outcome(reply).await.is_err());
    stage.accept().await;
}

#[tokio::test]
async fn what_is_no_reply_ends_the_connection_and_what_came_before_it_counts() {
    for nonsense in ["HTTP/1.1 400 Bad Request\r\n", "+2\r\n+nobody asked\r\n"] {
        let stage = Stage::set().await;
        let mut redis = stage.accept().await;
        let (one, two) = (stage.ask("one").unwrap(), stage.ask("two").unwrap());
        expect(&mut redis, &["one"]).await;
        expect(&mut redis, &["two"]).await;
        redis.write_all(b"+1\r\n").await.unwrap();
        redis.write_all(nonsense.as_bytes()).await.unwrap();
        assert_eq!(outcome(one).await.unwrap(), text("1"));
        match outcome(two).await {
            Err(why) => assert!(why.contains("no reply"), "{why}"),
            Ok(reply) => assert_eq!(reply, text("2")),
        }
        stage.accept().await;
    }
}

#[tokio::test]
async fn a_replica_says_so_and_fred_is_asked_for_the_primary() {
    let stage = Stage::set().await;
    let mut replica = stage.accept().await;
    let reply = stage.ask("write").unwrap();
    expect(&mut replica, &["write"]).await;
    replica.write_all(b"-READONLY You can't write against a read only replica.\r\n").await.unwrap();
    assert!(matches!(outcome(reply).await.unwrap(), Reply::Refusal(_)));
    timeout(PATIENCE, stage.pipeline.doubtful()).await.unwrap();
    stage.name();
    stage.accept().await;
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_and_in_commands() {
    let stage = Stage::set().await;
    let mut redis = stage.accept().await;
    let large = |into: &mut BytesMut| {
        put_command(into, 1);
        put_word(into, &vec![b'x'; WAITING.bytes]);
    };
    // One alone may be as large as it is.
    let first = stage.pipeline.call(large).unwrap();
    let full = stage.ask("more").unwrap_err();
    assert!(matches!(&full, Error::Unavailable(why) if why.contains("too much waits")), "{full}");
    let mut head = BytesMut::new();
    large(&mut head);
    let mut read = vec![0; head.len()];
    timeout(PATIENCE, redis.read_exact(&mut read)).await.unwrap().unwrap();
    redis.write_all(b"+OK\r\n").await.unwrap();
    outcome(first).await.unwrap();
    for _ in 0..WAITING.entries {
        stage.pipeline.tell(|into| command(into, &["small"])).unwrap();
    }
    assert!(stage.ask("more").is_err());
}

#[tokio::test]
async fn a_wrong_password_is_said_and_tried_again() {
    let stage = Stage::set().await;
    let accepted = timeout(PATIENCE, stage.listener.accept()).await.unwrap();
    let mut redis = accepted.unwrap().0;
    expect(&mut redis, &["AUTH", "user", "word"]).await;
    redis.write_all(b"-WRONGPASS invalid username-password pair\r\n").await.unwrap();
    stage.accept().await;
}
