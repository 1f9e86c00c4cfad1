#![no_main]

fuzz::target!(gateway::fuzzing::http_heads);
