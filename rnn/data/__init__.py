"""Where the data of tasks come from: one room for each task or kind of file, behind `rnn.tasks`."""
