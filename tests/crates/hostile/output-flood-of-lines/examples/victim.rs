hostile_output_flood_of_lines::attack!();
