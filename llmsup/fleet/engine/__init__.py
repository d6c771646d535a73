"""A model's engine as the fleet needs it: started, asked whether it answers, ended in good order."""
