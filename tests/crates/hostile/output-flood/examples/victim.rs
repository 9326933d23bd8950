hostile_output_flood::attack!();
