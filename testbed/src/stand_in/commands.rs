//! The commands that the store and its scripts use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use super::database::{Answer, Database, Text};
use super::sorted::{Edge, Sorted, score, text_of};
use crate::Reply;

type List = VecDeque<Text>;
type Hash = BTreeMap<Text, Text>;
type Set = BTreeSet<Text>;

fn ok() -> Answer {
    Ok(Reply::Status("OK".to_owned()))
}

fn count(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn flag(yes: bool) -> Answer {
    Ok(Reply::Integer(yes.into()))
}

fn bulk(text: Option<&Text>) -> Reply {
    text.map_or(Reply::Nil, |text| Reply::Bytes(text.clone()))
}

fn texts<'a>(all: impl IntoIterator<Item = &'a Text>) -> Answer {
    Ok(Reply::List(all.into_iter().map(|text| Reply::Bytes(text.clone())).collect()))
}

/// Members of a sorted set, with or without their scores.
fn scored(all: Vec<(&Text, f64)>, with_scores: bool) -> Reply {
    let pairs = all.into_iter().flat_map(|(member, score)| {
        let score = with_scores.then(|| Reply::Bytes(text_of(score)));
        std::iter::once(Reply::Bytes(member.clone())).chain(score)
    });
    Reply::List(pairs.collect())
}

fn integer(text: &[u8]) -> Result<i64, String> {
    let digits = std::str::from_utf8(text).ok();
    let parsed =
        digits.and_then(|digits| digits.parse().ok().filter(|number: &i64| number.to_string() == digits));
    parsed.ok_or_else(|| "ERR value is not an integer or out of range".to_owned())
}

/// The elements from one index to another, both inclusive, and from the end if
/// negative.
fn range(length: usize, from: i64, to: i64) -> Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let at = |index: i64| if index < 0 { index + length } else { index };
    let (from, to) = (at(from).max(0), (at(to) + 1).clamp(0, length));
    let from = from.min(to);
    usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0)
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

impl Database {
    /// Runs a command that is neither a script nor about subscriptions. The first word
    /// is its name.
    pub(super) fn command(&mut self, words: &[Text]) -> Answer {
        let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        let name = String::from_utf8_lossy(&name).into_owned();
        let args = words.get(1..).unwrap_or_default();
        let done = match (args, &*name) {
            ([key, rest @ ..], _) => self.about_key(&name, key, rest, args),
            ([], "PING") => Some(Ok(Reply::Status("PONG".to_owned()))),
            ([], "TIME") => Some(Ok(self.time())),
            ([], "INFO") => Some(Ok(self.info())),
            _ => None,
        };
        done.unwrap_or_else(|| {
            Err(format!("ERR unknown command '{name}', or one with other arguments than the store gives"))
        })
    }

    fn time(&self) -> Reply {
        let now = self.now();
        let part = |number: u64| Reply::Bytes(number.to_string().into_bytes());
        Reply::List(vec![part(now.as_secs()), part(now.subsec_micros().into())])
    }

    fn info(&self) -> Reply {
        let fields = [
            ("redis_version", "7.0.0"),
            ("role", "master"),
            ("connected_slaves", "0"),
            ("master_replid", &self.history),
            ("maxmemory_policy", "noeviction"),
            ("aof_enabled", "1"),
        ];
        let lines = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n"));
        Reply::Bytes(lines.collect::<String>().into_bytes())
    }

    fn about_key(&mut self, name: &str, key: &Text, rest: &[Text], args: &[Text]) -> Option<Answer> {
        Some(match (name, rest) {
            ("INFO", _) => Ok(self.info()),
            ("PING", []) => Ok(Reply::Bytes(key.clone())),
            ("SELECT" | "AUTH", _) => ok(),
            ("DEL", _) => Ok(count(args.iter().filter(|key| self.remove(key)).count())),
            ("EXISTS", _) => Ok(count(args.iter().filter(|key| self.exists(key)).count())),
            ("EXPIRE", [seconds]) => {
                integer(seconds).and_then(|seconds| flag(self.live_for(key, seconds.saturating_mul(1_000))))
            }
            ("PEXPIRE", [millis]) => integer(millis).and_then(|millis| flag(self.live_for(key, millis))),
            ("PTTL", []) => Ok(Reply::Integer(self.life(key))),
            ("GET", []) => self.string(key).map(bulk),
            ("MGET", _) => {
                // Of another kind of value MGET says that there is none.
                let all = args.iter().map(|key| self.string(key).map_or(Reply::Nil, bulk));
                Ok(Reply::List(all.collect()))
            }
            ("SET", [text, options @ ..]) => self.set_with(key, text, options),
            _ => return self.about_value(name, key, rest),
        })
    }

    fn set_with(&mut self, key: &Text, text: &Text, options: &[Text]) -> Answer {
        let (mut life, mut only_new) = (None, false);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if is(option, "NX") {
                only_new = true;
                continue;
            }
            let unit = if is(option, "PX") {
                1
            } else if is(option, "EX") {
                1_000
            } else {
                0
            };
            let number = options.next().ok_or("ERR syntax error")?;
            let millis = integer(number)?.saturating_mul(unit);
            match u64::try_from(millis) {
                Ok(millis) if millis > 0 => life = Some(Duration::from_millis(millis)),
                _ => return Err("ERR invalid expire time in 'set' command".to_owned()),
            }
        }
        if only_new && self.exists(key) {
            return Ok(Reply::Nil);
        }
        self.set(key, text.clone(), life);
        ok()
    }

    fn about_value(&mut self, name: &str, key: &Text, rest: &[Text]) -> Option<Answer> {
        let first = name.as_bytes().first().copied().unwrap_or_default();
        match first {
            b'L' | b'R' => self.about_list(name, key, rest),
            b'H' => self.about_hash(name, key, rest),
            b'S' => self.about_set(name, key, rest),
            b'Z' => self.about_sorted(name, key, rest),
            _ => None,
        }
    }

    fn about_list(&mut self, name: &str, key: &Text, rest: &[Text]) -> Option<Answer> {
        Some(match (name, rest) {
            ("LLEN", []) => self.read(key, |list: &List| count(list.len())),
            // As Redis does: it looks at the index when it has found the list.
            ("LINDEX", [_]) if !self.exists(key) => Ok(Reply::Nil),
            ("LINDEX", [index]) => self
                .read(key, |list: &List| {
                    let index = integer(index)?;
                    let found = range(list.len(), index, index).next();
                    // An index before the first element is none.
                    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
                    Ok(bulk(found.filter(|_| index >= -length).and_then(|at| list.get(at))))
                })
                .and_then(|found| found),
            ("LRANGE", [from, to]) => integer(from).and_then(|from| {
                let to = integer(to)?;
                self.read(key, |list: &List| texts(list.range(range(list.len(), from, to))))?
            }),
            ("LTRIM", [from, to]) => integer(from).and_then(|from| {
                let to = integer(to)?;
                self.change(key, |list: &mut List| {
                    let kept = range(list.len(), from, to);
                    list.truncate(kept.end);
                    list.drain(..kept.start);
                    ok()
                })
            }),
            ("RPUSH", [_, ..]) => self.change(key, |list: &mut List| {
                list.extend(rest.iter().cloned());
                Ok(count(list.len()))
            }),
            ("RPOP", []) => self.change(key, |list: &mut List| Ok(bulk(list.pop_back().as_ref()))),
            _ => return None,
        })
    }

    fn about_hash(&mut self, name: &str, key: &Text, rest: &[Text]) -> Option<Answer> {
        Some(match (name, rest) {
            ("HGET", [field]) => self.read(key, |hash: &Hash| bulk(hash.get(field))),
            ("HMGET", [_, ..]) => self.read(key, |hash: &Hash| {
                Reply::List(rest.iter().map(|field| bulk(hash.get(field))).collect())
            }),
            ("HGETALL", []) => self
                .read(key, |hash: &Hash| texts(hash.iter().flat_map(|(field, value)| [field, value])))
                .and_then(|all| all),
            ("HSCAN", [_, ..]) => self
                .read(key, |hash: &Hash| texts(hash.iter().flat_map(|(field, value)| [field, value])))
                .and_then(|all| all)
                .map(|all| Reply::List(vec![Reply::Bytes(b"0".to_vec()), all])),
            ("HEXISTS", [field]) => {
                self.read(key, |hash: &Hash| Reply::Integer(hash.contains_key(field).into()))
            }
            ("HLEN", []) => self.read(key, |hash: &Hash| count(hash.len())),
            ("HSET", [_, ..]) if rest.len().is_multiple_of(2) => self.change(key, |hash: &mut Hash| {
                let new = rest
                    .chunks_exact(2)
                    .filter(|pair| hash.insert(pair[0].clone(), pair[1].clone()).is_none());
                Ok(count(new.count()))
            }),
            ("HSETNX", [field, value]) => self.change(key, |hash: &mut Hash| {
                let is_new = !hash.contains_key(field);
                hash.entry(field.clone()).or_insert_with(|| value.clone());
                flag(is_new)
            }),
            ("HDEL", [_, ..]) => self.change(key, |hash: &mut Hash| {
                Ok(count(rest.iter().filter(|field| hash.remove(*field).is_some()).count()))
            }),
            ("HINCRBY", [field, by]) => integer(by).and_then(|by| {
                self.change(key, |hash: &mut Hash| {
                    let wrong = |_| "ERR hash value is not an integer".to_owned();
                    let before = hash.get(field).map_or(Ok(0), |text| integer(text)).map_err(wrong)?;
                    let sum = before.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
                    hash.insert(field.clone(), sum.to_string().into_bytes());
                    Ok(Reply::Integer(sum))
                })
            }),
            _ => return None,
        })
    }

    fn about_set(&mut self, name: &str, key: &Text, rest: &[Text]) -> Option<Answer> {
        Some(match (name, rest) {
            ("SMEMBERS", []) => self.read(key, |set: &Set| texts(set)).and_then(|all| all),
            ("SADD", [_, ..]) => self.change(key, |set: &mut Set| {
                Ok(count(rest.iter().filter(|member| set.insert((*member).clone())).count()))
            }),
            ("SREM", [_, ..]) => self.change(key, |set: &mut Set| {
                Ok(count(rest.iter().filter(|member| set.remove(*member)).count()))
            }),
            _ => return None,
        })
    }

    fn about_sorted(&mut self, name: &str, key: &Text, rest: &[Text]) -> Option<Answer> {
        Some(match (name, rest) {
            ("ZCARD", []) => self.read(key, |set: &Sorted| count(set.len())),
            ("ZSCORE", [member]) => self.read(key, |set: &Sorted| {
                set.score(member).map_or(Reply::Nil, |score| Reply::Bytes(text_of(score)))
            }),
            ("ZADD", [option, pairs @ ..]) if is(option, "NX") => self.add_sorted(key, pairs, true),
            ("ZADD", pairs) => self.add_sorted(key, pairs, false),
            ("ZREM", [_, ..]) => self.change(key, |set: &mut Sorted| {
                Ok(count(rest.iter().filter(|member| set.remove(member)).count()))
            }),
            ("ZCOUNT", [low, high]) => Edge::parse(low).and_then(|low| {
                let high = Edge::parse(high)?;
                self.read(key, |set: &Sorted| count(set.between(low, high).len()))
            }),
            ("ZRANGE", [from, to, options @ ..]) => integer(from).and_then(|from| {
                let to = integer(to)?;
                let with_scores = options.iter().any(|option| is(option, "WITHSCORES"));
                self.read(key, |set: &Sorted| {
                    let all = set.all();
                    scored(all[range(all.len(), from, to)].to_vec(), with_scores)
                })
            }),
            ("ZRANGEBYSCORE", [low, high, options @ ..]) => Edge::parse(low).and_then(|low| {
                let high = Edge::parse(high)?;
                let with_scores = options.iter().any(|option| is(option, "WITHSCORES"));
                let limit = options.iter().position(|option| is(option, "LIMIT"));
                let (skip, most) = match limit.map(|at| (options.get(at + 1), options.get(at + 2))) {
                    Some((Some(skip), Some(most))) => (integer(skip)?, integer(most)?),
                    Some(_) => return Err("ERR syntax error".to_owned()),
                    None => (0, -1),
                };
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                self.read(key, |set: &Sorted| {
                    let some = set.between(low, high).into_iter().skip(skip).take(most);
                    scored(some.collect(), with_scores)
                })
            }),
            ("ZREMRANGEBYSCORE", [low, high]) => Edge::parse(low).and_then(|low| {
                let high = Edge::parse(high)?;
                self.remove_sorted(key, |set| {
                    set.between(low, high).iter().map(|one| one.0.clone()).collect()
                })
            }),
            ("ZREMRANGEBYRANK", [from, to]) => integer(from).and_then(|from| {
                let to = integer(to)?;
                self.remove_sorted(key, |set| {
                    let all = set.all();
                    all[range(all.len(), from, to)].iter().map(|one| one.0.clone()).collect()
                })
            }),
            _ => return None,
        })
    }

    fn add_sorted(&mut self, key: &Text, pairs: &[Text], only_new: bool) -> Answer {
        if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
            return Err("ERR syntax error".to_owned());
        }
        let pairs: Vec<(f64, &Text)> = pairs
            .chunks_exact(2)
            .map(|pair| Ok((score(&pair[0])?, &pair[1])))
            .collect::<Result<_, String>>()?;
        self.change(key, |set: &mut Sorted| {
            Ok(count(pairs.iter().filter(|(score, member)| set.add(member, *score, only_new)).count()))
        })
    }

    fn remove_sorted(&mut self, key: &Text, which: impl FnOnce(&Sorted) -> Vec<Text>) -> Answer {
        self.change(key, |set: &mut Sorted| {
            let gone = which(set);
            Ok(count(gone.iter().filter(|member| set.remove(member)).count()))
        })
    }
}
