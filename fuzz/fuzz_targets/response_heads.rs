#![no_main]

fuzz::target!(gateway::fuzzing::response_heads);
