"""What World2Act is compared with: other ways to spend the same labels and the same videos."""
