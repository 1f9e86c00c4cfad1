#![no_main]

fuzz::target!(gateway::fuzzing::json_frames);
