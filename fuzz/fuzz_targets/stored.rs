#![no_main]

fuzz::target!(store::fuzzing::stored);
