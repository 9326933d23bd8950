hostile_memory_bomb_in_compiler::fill!();
