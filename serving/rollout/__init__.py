"""From one served version to the next without a failed request, and back."""
