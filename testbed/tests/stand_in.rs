//! The stand-in for Redis against a real one: both are given the same commands with the
//! same arguments, by chance, and must reply the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use testbed::stand_in::StandInServer;
use testbed::{RedisServer, Reply, resp};

const CASES: u64 = 30;
const COMMANDS: usize = 200;
/// For all commands of a case.
const LIMIT: Duration = Duration::from_secs(30);

type Words = Vec<Vec<u8>>;

/// What scripts do with a command: its reply goes through Lua and back.
const SCRIPTS: [&str; 3] = [
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "local reply = redis.pcall(unpack(ARGV)) return {type(reply), type(reply) == 'table' and #reply or 0, reply}",
];

#[tokio::test]
async fn the_same_commands_get_the_same_replies() {
    let (redis, stand_in) = (RedisServer::start().await.unwrap(), StandInServer::start().await.unwrap());
    let first: u64 = rand::random();
    for seed in (first..).take(CASES as usize) {
        let commands = Commands { chance: StdRng::seed_from_u64(seed), keys: format!("{seed}:") }.all();
        let expected = resp::commands(redis.port(), &commands, LIMIT).await.unwrap();
        let replies = resp::commands(stand_in.port(), &commands, LIMIT).await.unwrap();
        for (at, (command, (expected, reply))) in
            commands.iter().zip(expected.into_iter().zip(replies)).enumerate()
        {
            let (expected, reply) = (plain(command, expected), plain(command, reply));
            let before: Vec<_> = commands[..at].iter().map(shown).collect();
            assert_eq!(reply, expected, "seed {seed}: {} after {before:#?}", shown(command));
        }
    }
}

fn shown(command: &Words) -> String {
    let words: Vec<_> = command.iter().map(|word| String::from_utf8_lossy(word)).collect();
    words.join(" ")
}

/// A reply without what no script may go by: the order of hashes and sets, the text of an
/// error behind its code, the milliseconds until a key expires.
fn plain(command: &Words, reply: Reply) -> Reply {
    let is_script = command[0] == b"EVAL";
    let name = if is_script { &command[3] } else { &command[0] };
    plain_of(&String::from_utf8_lossy(name), reply)
}

fn plain_of(name: &str, reply: Reply) -> Reply {
    let all_bytes = |items: &[Reply]| items.iter().all(|item| item.bytes().is_some());
    match (name, reply) {
        (_, Reply::Error(text)) => Reply::Error(text.split(' ').next().unwrap_or_default().to_owned()),
        ("PTTL", Reply::Integer(millis)) => Reply::Integer(millis.signum()),
        ("HGETALL" | "HSCAN", Reply::List(items)) if items.len() != 1 && all_bytes(&items) => {
            sorted(items, 2)
        }
        ("SMEMBERS", Reply::List(items)) if all_bytes(&items) => sorted(items, 1),
        // What has other lists inside.
        (_, Reply::List(items)) => Reply::List(items.into_iter().map(|item| plain_of(name, item)).collect()),
        (_, reply) => reply,
    }
}

/// The items in groups of so many, in an order that depends on nothing else.
fn sorted(items: Vec<Reply>, group: usize) -> Reply {
    let mut groups: Vec<&[Reply]> = items.chunks(group).collect();
    groups.sort_by_key(|group| group[0].bytes().map(<[u8]>::to_vec));
    Reply::List(groups.concat())
}

/// Commands by chance, about a few keys, whose values often are of another kind.
struct Commands {
    chance: StdRng,
    /// In front of each key.
    keys: String,
}

impl Commands {
    fn all(mut self) -> Vec<Words> {
        (0..COMMANDS).map(|_| self.one()).collect()
    }

    fn one(&mut self) -> Words {
        let command = self.command();
        if self.chance.random() {
            return command;
        }
        let script = SCRIPTS.choose(&mut self.chance).unwrap();
        let mut words = vec![b"EVAL".to_vec(), script.as_bytes().to_vec(), b"0".to_vec()];
        words.extend(command);
        words
    }

    fn word(&mut self, from: &[&str]) -> Vec<u8> {
        from.choose(&mut self.chance).unwrap().as_bytes().to_vec()
    }

    fn key(&mut self) -> Vec<u8> {
        format!("{}{}", self.keys, self.chance.random_range(0..6)).into_bytes()
    }

    /// A field, a member, a value.
    fn text(&mut self) -> Vec<u8> {
        if self.chance.random_bool(0.1) {
            let length = self.chance.random_range(0..4);
            return (0..length).map(|_| self.chance.random()).collect();
        }
        self.word(&["a", "b", "c", "dd", "1", "17", "-3", "9007199254740993", "9223372036854775807"])
    }

    fn number(&mut self) -> Vec<u8> {
        match self.chance.random_bool(0.05) {
            true => self.word(&["", "x", "05", "-0", "+1", "1.5", " 1", "1 ", "9223372036854775808", "1e2"]),
            false => self.chance.random_range(-6..8_i64).to_string().into_bytes(),
        }
    }

    fn score(&mut self) -> Vec<u8> {
        match self.chance.random_bool(0.1) {
            true => self.word(&[
                "inf",
                "+inf",
                "-inf",
                "0.5",
                "-2.25",
                "1e3",
                "x",
                "nan",
                "1,5",
                "4503599627370497",
            ]),
            false => self.chance.random_range(-4..6_i64).to_string().into_bytes(),
        }
    }

    fn edge(&mut self) -> Vec<u8> {
        let mut edge = if self.chance.random_bool(0.3) { b"(".to_vec() } else { Vec::new() };
        edge.extend(self.score());
        edge
    }

    /// None, one, or some of these.
    fn some(&mut self, least: usize, mut one: impl FnMut(&mut Self) -> Words) -> Words {
        let count = self.chance.random_range(least..=3);
        (0..count).flat_map(|_| one(self)).collect()
    }

    fn command(&mut self) -> Words {
        let key = self.key();
        let named = |name: &str, rest: Words| [vec![name.as_bytes().to_vec(), key], rest].concat();
        let scores = |on: bool| if on { vec![b"WITHSCORES".to_vec()] } else { Vec::new() };
        match self.chance.random_range(0..36) {
            0 => named("DEL", self.some(0, |this| vec![this.key()])),
            1 => named("EXISTS", self.some(0, |this| vec![this.key()])),
            2 => named("EXPIRE", vec![self.word(&["1000", "0", "-1", "x", "100000"])]),
            3 => named("PEXPIRE", vec![self.word(&["1000000", "0", "-1", "x", "900000"])]),
            4 => named("PTTL", vec![]),
            5 => named("GET", vec![]),
            6 => named("MGET", self.some(0, |this| vec![this.key()])),
            7 => named("SET", vec![self.text()]),
            8 => {
                let mut words = vec![self.text()];
                if self.chance.random() {
                    words.push(b"NX".to_vec());
                }
                if self.chance.random() {
                    words.extend([
                        self.word(&["PX", "EX", "px"]),
                        self.word(&["900000", "1000000", "0", "-5", "x"]),
                    ]);
                }
                named("SET", words)
            }
            9 => named("LLEN", vec![]),
            10 => named("LINDEX", vec![self.number()]),
            11 => named("LRANGE", vec![self.number(), self.number()]),
            12 => named("LTRIM", vec![self.number(), self.number()]),
            13..=15 => named("RPUSH", self.some(1, |this| vec![this.text()])),
            16 => named("RPOP", vec![]),
            17 => named("HGET", vec![self.text()]),
            18 => named("HMGET", self.some(1, |this| vec![this.text()])),
            19 => named("HGETALL", vec![]),
            20 => named("HSCAN", vec![b"0".to_vec(), b"COUNT".to_vec(), b"1000".to_vec()]),
            21 => named("HEXISTS", vec![self.text()]),
            22 => named("HLEN", vec![]),
            23 => named("HSET", self.some(1, |this| vec![this.text(), this.text()])),
            24 => named("HSETNX", vec![self.text(), self.text()]),
            25 => named("HDEL", self.some(1, |this| vec![this.text()])),
            26 => named("HINCRBY", vec![self.text(), self.number()]),
            27 => named("SMEMBERS", vec![]),
            28 => named("SADD", self.some(1, |this| vec![this.text()])),
            29 => named("SREM", self.some(1, |this| vec![this.text()])),
            30 => match self.chance.random_range(0..3) {
                0 => named("ZCARD", vec![]),
                1 => named("ZSCORE", vec![self.text()]),
                _ => named("ZCOUNT", vec![self.edge(), self.edge()]),
            },
            31 => named("ZADD", self.some(1, |this| vec![this.score(), this.text()])),
            32 => named(
                "ZADD",
                [vec![b"NX".to_vec()], self.some(1, |this| vec![this.score(), this.text()])].concat(),
            ),
            33 => {
                let on = self.chance.random();
                named("ZRANGE", [vec![self.number(), self.number()], scores(on)].concat())
            }
            34 => {
                let (on, limited) = (self.chance.random(), self.chance.random_bool(0.5));
                let limit =
                    if limited { vec![b"LIMIT".to_vec(), self.number(), self.number()] } else { vec![] };
                named("ZRANGEBYSCORE", [vec![self.edge(), self.edge()], scores(on), limit].concat())
            }
            _ => match self.chance.random_range(0..3) {
                0 => named("ZREM", self.some(1, |this| vec![this.text()])),
                1 => named("ZREMRANGEBYSCORE", vec![self.edge(), self.edge()]),
                _ => named("ZREMRANGEBYRANK", vec![self.number(), self.number()]),
            },
        }
    }
}
