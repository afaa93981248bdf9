"""What runs in the serving image beside TorchServe: the front (nginx) and the supervisor (PID 1)."""
