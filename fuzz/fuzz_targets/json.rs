#![no_main]

fuzz::target!(proto::fuzzing::json);
