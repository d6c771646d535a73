"""A model's engine as a process: started, asked whether it answers, ended cleanly."""
