"""What models can call: functions and agents as tools, their arguments, results and approval, and MCP servers."""
