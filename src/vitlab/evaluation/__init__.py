TEST_ANSWERS = "test_answers.pt"
"""The file in a run's folder that keeps what its own test was answered."""
