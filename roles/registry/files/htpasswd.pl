# htpasswd.pl FILE USER GROUP [--check]: makes FILE, readable by GROUP, accept USER with the password on standard input,
# and says "changed" or "same". With --check it only says.
use strict;
use warnings;

my ($file, $user, $group, $check) = @ARGV;
my $password = do { local $/; <STDIN> };
chomp $password;

if (open my $old, '<', $file) {
    my $line = <$old> // '';
    chomp $line;
    my ($name, $hash) = split /:/, $line, 2;
    if (defined $hash && $name eq $user && (crypt($password, $hash) // '') eq $hash) {
        print "same\n";
        exit 0;
    }
}
if (!$check) {
    # Every request of a pull is checked anew: the cost is low because the password is long and random.
    my @letters = ('.', '/', 'A' .. 'Z', 'a' .. 'z', '0' .. '9');
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read($random, my $bytes, 22) == 22 or die "/dev/urandom: $!\n";
    my $salt = join '', map { $letters[$_ % 64] } unpack 'C*', $bytes;
    substr $salt, 21, 1, qw(. O e u)[ord(substr $bytes, 21, 1) % 4];
    my $hash = crypt $password, "\$2b\$05\$$salt";
    die "This system's crypt does not know bcrypt\n" if !defined $hash || $hash !~ /^\$2b\$05\$.{53}$/;

    umask 0077;
    open my $new, '>', "$file.new" or die "$file.new: $!\n";
    print {$new} "$user:$hash\n" or die "$file.new: $!\n";
    close $new or die "$file.new: $!\n";
    chown 0, $group, "$file.new" or die "$file.new: $!\n";
    chmod 0640, "$file.new" or die "$file.new: $!\n";
    rename "$file.new", $file or die "$file: $!\n";
}
print "changed\n";
