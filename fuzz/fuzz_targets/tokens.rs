#![no_main]

fuzz::target!(gateway::fuzzing::tokens);
