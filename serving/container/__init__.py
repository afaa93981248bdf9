"""What runs in the serving image beside TorchServe: the supervisor (PID 1) and the reverse proxy (nginx)."""
