"""Episodes and their instructions → atomic skill clips (World2Act, section 3.1)."""
