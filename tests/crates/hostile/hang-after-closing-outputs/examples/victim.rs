hostile_hang_after_closing_outputs::attack!();
