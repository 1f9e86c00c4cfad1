#![no_main]

fuzz::target!(store::fuzzing::envelopes);
