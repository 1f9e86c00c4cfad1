#![no_main]

fuzz::target!(gateway::fuzzing::engineio);
